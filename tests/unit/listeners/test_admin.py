"""The administrators' door: aiohttp on a 0600 socket."""

from __future__ import annotations

import asyncio
import io
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.errors import Misconfigured, Refused
from sidecar.listeners.admin import AdminDoor
from sidecar.model.registry import Statistics
from sidecar.operations.tenant.connectors import Connectors
from sidecar.pipeline.handle import handle
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import Stage, set_stage

TEST = "/v1/connectors/crm/operations/get/test"


def door(stage: Stage) -> AdminDoor:
    connectors = Connectors(
        lambda: stage.parts.catalogue, lambda _: Statistics(), lambda call: handle(stage.parts, call), lambda: "c-1"
    )

    async def reload() -> dict[str, Any]:
        if stage.clock.pauses:
            raise Refused("invalid_payload", "The file has errors.")
        return {"outcome": "loaded"}

    return AdminDoor(connectors, lambda: {"ready": True}, reload)


@pytest.fixture
async def stage() -> Stage:
    return set_stage()


@pytest.fixture
async def socket(stage: Stage, tmp_path: Path) -> AsyncIterator[Path]:
    opened = door(stage)
    await opened.start(tmp_path / "admin.sock")
    yield tmp_path / "admin.sock"
    await opened.close()


@pytest.fixture
async def client(socket: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession("http://admin", connector=aiohttp.UnixConnector(str(socket))) as session:
        yield session


async def problem(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    shown = await answer.json()
    assert shown["status"] == answer.status
    return answer.status, shown["code"]


async def test_only_its_owner_may_open_the_socket(socket: Path) -> None:
    found = await asyncio.to_thread(socket.stat)
    assert stat.S_IMODE(found.st_mode) == 0o600


async def test_status_and_reload(client: aiohttp.ClientSession, stage: Stage) -> None:
    async with client.get("/v1/status") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True})
    async with client.post("/v1/reload") as answer:
        assert (answer.status, await answer.json()) == (200, {"outcome": "loaded"})
    stage.clock.pauses.append(1.0)
    async with client.post("/v1/reload") as answer:
        assert await problem(answer) == (422, "invalid_payload")


async def test_connectors_are_listed_and_shown(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/connectors") as answer:
        assert [view["id"] for view in (await answer.json())["connectors"]] == ["crm", "open"]
    async with client.get("/v1/connectors/crm") as answer:
        assert (await answer.json())["credential"] == "encrypted://crm"
    async with client.get("/v1/connectors/nothing") as answer:
        assert await problem(answer) == (404, "unknown_connector")


async def test_an_operation_is_tested_on_the_one_path(client: aiohttp.ClientSession, stage: Stage) -> None:
    stage.caller.script.insert(0, answered(b'{"n":1}'))
    async with client.post(TEST, json={"parameters": {"id": "7"}}) as answer:
        assert (answer.status, await answer.json()) == (200, {"n": 1})
        assert answer.headers["sidecar-evidence-id"] == "acme-00000000/1"
    assert stage.evidence.leaves[0].surface == "admin"


async def test_a_test_that_is_refused_says_why(client: aiohttp.ClientSession, stage: Stage) -> None:
    async with client.post(TEST) as answer:
        assert await problem(answer) == (422, "invalid_payload")
    async with client.post("/v1/connectors/crm/operations/nothing/test") as answer:
        assert await problem(answer) == (404, "unknown_operation")
    assert len(stage.evidence.leaves) == 2


async def test_a_streamed_answer_is_shown_whole(client: aiohttp.ClientSession, stage: Stage) -> None:
    stage.caller.script.insert(0, answered(Pieces(b"one ", b"two"), 200, [(b"content-type", b"text/plain")]))
    async with client.post("/v1/connectors/crm/operations/watch/test") as answer:
        assert (answer.status, await answer.text()) == (200, "one two")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "invalid_json")),
        (b'{"parameters":1,"parameters":2}', (400, "invalid_json")),
        (b"[]", (422, "invalid_payload")),
        (b'{"principal":"root"}', (422, "invalid_payload")),
        (b'"' + b"x" * (1 << 20) + b'"', (413, "body_too_large")),
    ],
)
async def test_a_bad_body_is_refused(client: aiohttp.ClientSession, body: bytes, expected: tuple[int, str]) -> None:
    async with client.post(TEST, data=io.BytesIO(body)) as answer:
        assert await problem(answer) == expected


async def test_what_is_not_there(client: aiohttp.ClientSession) -> None:
    for method, path, expected in (
        ("GET", "/v1/nothing", (404, "not_found")),
        ("GET", "/", (404, "not_found")),
        ("DELETE", "/v1/status", (405, "method_not_allowed")),
        ("GET", "/v1/access", (404, "not_found")),
    ):
        async with client.request(method, path) as answer:
            assert await problem(answer) == expected


async def test_a_stale_socket_is_replaced_and_a_file_is_not(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    for _ in range(2):
        opened = door(stage)
        await opened.start(path)
        await opened.close()
    path.unlink(missing_ok=True)
    path.write_text("tenant: acme")
    refused = door(stage)
    with pytest.raises(Misconfigured):
        await refused.start(path)
    await refused.close()
    assert path.read_text() == "tenant: acme"


async def test_a_socket_that_cannot_be_opened_says_where(stage: Stage, tmp_path: Path) -> None:
    refused = door(stage)
    with pytest.raises(Misconfigured, match=r"admin\.sock"):
        await refused.start(tmp_path / "nothing" / "admin.sock")
    await refused.close()


async def test_a_door_that_was_never_opened_can_be_closed(stage: Stage) -> None:
    await door(stage).close()
