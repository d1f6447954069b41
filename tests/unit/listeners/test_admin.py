"""The administrators' door: who may come in, and what every answer is like."""

from __future__ import annotations

import asyncio
import io
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.errors import Misconfigured
from sidecar.listeners import admin
from sidecar.pipeline.switches import Switches
from tests.fakes.answers import Pieces, answered
from tests.fakes.desk import SECTION, Desk
from tests.fakes.parts import key_of

TEST = "/v1/connectors/crm/operations/get/test"
NEW = {"If-None-Match": "*"}


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def owner(desk: Desk, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """The socket's owner: an operator and tenant admin."""
    await desk.door.start(tmp_path / "admin.sock")
    connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
    async with aiohttp.ClientSession("http://admin", connector=connector) as session:
        yield session
    await desk.door.close()


@pytest.fixture
async def door(desk: Desk) -> AsyncIterator[str]:
    port = await desk.door.listen("127.0.0.1", 0, None)
    yield f"http://127.0.0.1:{port}"
    await desk.door.close()


@pytest.fixture
async def anyone(door: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(door) as session:
        yield session


def as_(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_of(name)}"}


async def problem(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    shown = await answer.json()
    assert shown["status"] == answer.status
    assert shown["type"] == f"urn:policy-sidecar:problem:{shown['code']}"
    return answer.status, shown["code"]


async def test_only_its_owner_may_open_the_socket(owner: aiohttp.ClientSession, tmp_path: Path) -> None:
    found = await asyncio.to_thread((tmp_path / "admin.sock").stat)
    assert stat.S_IMODE(found.st_mode) == 0o600


async def test_status_and_reload(owner: aiohttp.ClientSession, desk: Desk) -> None:
    async with owner.get("/v1/status") as answer:
        assert answer.status == 200 and (await answer.json())["configuration"] == "/etc/sidecar.yaml"
    async with owner.post("/v1/reload") as answer:
        assert (answer.status, await answer.json(), desk.reloads) == (200, {"outcome": "loaded"}, 1)


async def test_inv_6_the_machines_paths_are_for_operators(anyone: aiohttp.ClientSession) -> None:
    async with anyone.get("/v1/status", headers=as_("ada")) as answer:
        assert set(await answer.json()) == {"ready", "credentials"}
    async with anyone.get("/v1/status", headers=as_("oscar")) as answer:
        assert "configuration" in await answer.json()


async def test_connectors_are_listed_and_shown(owner: aiohttp.ClientSession) -> None:
    async with owner.get("/v1/connectors") as answer:
        assert [view["id"] for view in (await answer.json())["connectors"]] == ["crm", "open"]
    async with owner.get("/v1/connectors?limit=1") as answer:
        first = await answer.json()
        assert ([view["id"] for view in first["connectors"]], first["next"]) == (["crm"], "crm")
    async with owner.get("/v1/connectors?limit=1&after=crm") as answer:
        assert (await answer.json())["next"] is None
    async with owner.get("/v1/connectors/crm") as answer:
        assert (await answer.json())["credential"] == "encrypted://crm"
        assert "ETag" not in answer.headers
    async with owner.get("/v1/connectors/nothing") as answer:
        assert await problem(answer) == (404, "unknown_connector")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("kind=http", ["crm", "open"]),
        ("status=ready", ["crm", "open"]),
        ("status=error", []),
        ("capability=vector_search", []),
        ("declared=false", []),
        ("declared=true&capability=read", ["crm", "open"]),
    ],
)
async def test_lists_are_filtered(owner: aiohttp.ClientSession, query: str, ids: list[str]) -> None:
    async with owner.get(f"/v1/connectors?{query}") as answer:
        assert [view["id"] for view in (await answer.json())["connectors"]] == ids


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "declared=yes", "x=1", "kind=a&kind=b"])
async def test_a_query_that_is_not_known_is_refused(owner: aiohttp.ClientSession, query: str) -> None:
    async with owner.get(f"/v1/connectors?{query}") as answer:
        assert await problem(answer) == (422, "invalid_payload")


async def test_an_operation_is_tested_on_the_one_path(owner: aiohttp.ClientSession, desk: Desk) -> None:
    desk.stage.caller.script.insert(0, answered(b'{"n":1}'))
    async with owner.post(TEST, json={"parameters": {"id": "7"}}) as answer:
        assert (answer.status, await answer.json()) == (200, {"n": 1})
        assert answer.headers["sidecar-evidence-id"] == "acme-00000000/1"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert desk.stage.evidence.leaves[0].surface == "admin"
    assert desk.stage.evidence.leaves[0].principal == "system:admin"


async def test_a_test_that_is_refused_says_why(owner: aiohttp.ClientSession, desk: Desk) -> None:
    async with owner.post(TEST) as answer:
        assert await problem(answer) == (422, "invalid_payload")
    async with owner.post("/v1/connectors/crm/operations/nothing/test") as answer:
        assert await problem(answer) == (404, "unknown_operation")
    assert len(desk.stage.evidence.leaves) == 2


async def test_a_streamed_answer_is_shown_whole(owner: aiohttp.ClientSession, desk: Desk) -> None:
    desk.stage.caller.script.insert(0, answered(Pieces(b"one ", b"two"), 200, [(b"content-type", b"text/plain")]))
    async with owner.post("/v1/connectors/crm/operations/watch/test") as answer:
        assert (answer.status, await answer.text()) == (200, "one two")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"{", "application/json", (400, "invalid_json")),
        (b'{"parameters":1,"parameters":2}', "application/json", (400, "invalid_json")),
        (b"[]", "application/json", (422, "invalid_payload")),
        (b'{"principal":"root"}', "application/json", (422, "invalid_payload")),
        (b'{"parameters":7}', "application/json", (422, "invalid_payload")),
        (b"{}", "text/plain", (415, "unsupported_media_type")),
        (b'"' + b"x" * (1 << 20) + b'"', "application/json", (413, "body_too_large")),
    ],
)
async def test_a_bad_body_is_refused(
    owner: aiohttp.ClientSession, body: bytes, kind: str, expected: tuple[int, str]
) -> None:
    async with owner.post(TEST, data=io.BytesIO(body), headers={"Content-Type": kind}) as answer:
        assert await problem(answer) == expected


async def test_what_is_not_there(owner: aiohttp.ClientSession) -> None:
    for method, path, expected in (
        ("GET", "/v1/nothing", (404, "not_found")),
        ("GET", "/", (404, "not_found")),
        ("DELETE", "/v1/status", (405, "method_not_allowed")),
        ("OPTIONS", "/v1/status", (405, "method_not_allowed")),
        ("TRACE", "/v1/status", (405, "method_not_allowed")),
        ("GET", "/v1/access", (404, "not_found")),
    ):
        async with owner.request(method, path) as answer:
            assert await problem(answer) == expected
            assert answer.headers.get("Allow", "") == ("GET" if expected[0] == 405 else "")


async def test_a_connector_is_registered_changed_and_removed_by_its_etag(
    anyone: aiohttp.ClientSession, desk: Desk
) -> None:
    path, ada = "/v1/connectors/wiki", as_("ada")
    async with anyone.put(path, json=SECTION, headers=ada) as answer:
        assert await problem(answer) == (428, "precondition_required")
    async with anyone.put(path, json=SECTION, headers=ada | NEW) as answer:
        assert (answer.status, answer.headers["ETag"]) == (201, '"1"')
    async with anyone.put(path, json=SECTION, headers=ada | NEW) as answer:
        assert await problem(answer) == (409, "conflict")
    async with anyone.put(path, json=SECTION, headers=ada | {"If-Match": '"1"'}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
    async with anyone.put(path, json=SECTION, headers=ada | {"If-Match": '"1"'}) as answer:
        assert await problem(answer) == (409, "conflict")
    async with anyone.delete(path, headers=ada) as answer:
        assert await problem(answer) == (428, "precondition_required")
    async with anyone.delete(path, headers=ada | {"If-Match": '"2"'}) as answer:
        assert answer.status == 200
    async with anyone.delete(path, headers=ada | {"If-Match": '"2"'}) as answer:
        assert await problem(answer) == (404, "unknown_connector")
    assert desk.changes == [("put", "connector", "wiki", None)] * 2 + [("remove", "connector", "wiki", None)]


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "1"},
        {"If-Match": 'W/"1"'},
        {"If-Match": '"x"'},
        {"If-None-Match": '"1"'},
        {"If-Match": '"1"', "If-None-Match": "*"},
    ],
)
async def test_a_precondition_that_cannot_be_read_is_refused(
    owner: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    async with owner.put("/v1/connectors/wiki", json=SECTION, headers=headers) as answer:
        assert await problem(answer) == (400, "malformed")


async def test_a_registry_that_is_down_is_a_clear_503(owner: aiohttp.ClientSession, desk: Desk) -> None:
    desk.store.available = False
    async with owner.put("/v1/connectors/wiki", json=SECTION, headers=NEW) as answer:
        assert await problem(answer) == (503, "registry_unavailable")
    async with owner.get("/v1/connectors") as answer:
        assert answer.status == 200


async def test_every_refusal_is_evidence(anyone: aiohttp.ClientSession, desk: Desk) -> None:
    for headers, expected in (
        ({}, (401, "unauthenticated")),
        ({"Authorization": "Bearer scp_x_y"}, (401, "unauthenticated")),
        ({"Authorization": "Basic YTpi"}, (401, "unauthenticated")),
        (as_("alice"), (403, "forbidden")),
        (as_("stranger"), (403, "tenant_mismatch")),
        (as_("nobody"), (403, "forbidden")),
        (as_("ada") | {"Origin": "https://evil.example"}, (403, "origin_forbidden")),
        (as_("ada") | {"Host": "evil.example"}, (403, "host_forbidden")),
    ):
        async with anyone.get("/v1/connectors", headers=headers) as answer:
            assert await problem(answer) == expected
            assert (await answer.json())["evidence_id"]
        last = desk.stage.evidence.leaves[-1]
        assert (last.kind, last.code, last.surface) == ("refusal", expected[1], "admin")


async def test_two_keys_are_no_key(door: str) -> None:
    port = int(door.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    keys = "".join(f"Authorization: Bearer {key_of('ada')}\r\n" for _ in range(2))
    writer.write(f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{keys}\r\n".encode())
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    desk: Desk, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "BODY_SECONDS", 0.05)
    port = int(door.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {TEST} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {as_('ada')['Authorization']}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    assert b" 408 " in answer.splitlines()[0] and b"request_timeout" in answer
    writer.close()
    assert desk.stage.caller.calls == []


async def test_failed_logins_of_one_address_are_slowed_and_a_good_key_is_not(
    anyone: aiohttp.ClientSession, desk: Desk
) -> None:
    desk.stage.counter.waits["login:127.0.0.1"] = 4.0
    async with anyone.get("/v1/connectors", headers={"Authorization": "Bearer x"}) as answer:
        assert await problem(answer) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "4"
    async with anyone.get("/v1/connectors", headers=as_("ada")) as answer:
        assert answer.status == 200


async def test_the_rate_of_each_person_is_bounded(anyone: aiohttp.ClientSession, desk: Desk) -> None:
    desk.stage.counter.waits["principal:ada"] = 2.0
    async with anyone.get("/v1/connectors", headers=as_("ada")) as answer:
        assert await problem(answer) == (429, "rate_limited")


async def test_a_suspended_tenant_is_denied_everywhere_but_by_who_can_end_it(
    anyone: aiohttp.ClientSession, desk: Desk
) -> None:
    async with anyone.post("/v1/tenant/suspend", json={"reason": "unpaid"}, headers=as_("ada")) as answer:
        assert await problem(answer) == (403, "forbidden")
    async with anyone.post("/v1/tenant/suspend", json={"reason": "unpaid"}, headers=as_("oscar")) as answer:
        assert (await answer.json())["status"] == "suspended"
    for name in ("ada", "audrey", "alice"):
        async with anyone.get("/v1/tenant", headers=as_(name)) as answer:
            assert await problem(answer) == (403, "tenant_suspended")
    async with anyone.get("/v1/nothing", headers=as_("oscar")) as answer:
        assert await problem(answer) == (404, "not_found"), "who is let in learns what is wrong"
    async with anyone.post("/v1/tenant/activate", headers=as_("oscar")) as answer:
        assert (await answer.json())["status"] == "active"
    async with anyone.get("/v1/tenant", headers=as_("ada")) as answer:
        assert (await answer.json())["reason"] == ""


@pytest.mark.parametrize("switch", [("principal", "ada"), ("key", "key_ada")])
async def test_p12_a_stopped_persons_key_opens_nothing(
    anyone: aiohttp.ClientSession, desk: Desk, switch: tuple[str, str]
) -> None:
    body = {"reason": "stolen"}
    async with anyone.put(f"/v1/switches/{switch[0]}/{switch[1]}", json=body, headers=as_("oscar")) as answer:
        assert answer.status == 200
    async with anyone.get("/v1/connectors", headers=as_("ada")) as answer:
        assert await problem(answer) == (403, "killed")
    async with anyone.delete(f"/v1/switches/{switch[0]}/{switch[1]}", headers=as_("ada")) as answer:
        assert await problem(answer) == (403, "killed"), "nobody stopped clears their own switch"
    async with anyone.delete(f"/v1/switches/{switch[0]}/{switch[1]}", headers=as_("oscar")) as answer:
        assert answer.status == 200
    async with anyone.get("/v1/connectors", headers=as_("ada")) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("switch", ["principal/oscar", "key/key_oscar"])
async def test_inv_6_operators_are_stopped_and_let_on_by_operators(
    anyone: aiohttp.ClientSession, switch: str
) -> None:
    why = {"reason": "stolen"}
    async with anyone.put(f"/v1/switches/{switch}", json=why, headers=as_("ada")) as answer:
        assert await problem(answer) == (403, "forbidden")
    async with anyone.put(f"/v1/switches/{switch}", json=why, headers=as_("all")) as answer:
        assert answer.status == 200
    async with anyone.delete(f"/v1/switches/{switch}", headers=as_("ada")) as answer:
        assert await problem(answer) == (403, "forbidden"), "a key that an operator stopped stays stopped"
    async with anyone.get("/v1/tenant", headers=as_("oscar")) as answer:
        assert await problem(answer) == (403, "killed")


async def test_p12_whether_a_persons_key_is_stopped_must_be_known(
    anyone: aiohttp.ClientSession, owner: aiohttp.ClientSession, desk: Desk
) -> None:
    desk.stage.parts.switches = Switches(60.0)  # the registry was never read
    for method, path in (("GET", "/v1/evidence"), ("DELETE", "/v1/credential?reference=encrypted%3A%2F%2Fcrm")):
        async with anyone.request(method, path, headers=as_("ada") | {"If-Match": "*"}) as answer:
            assert await problem(answer) == (503, "registry_unavailable")
    async with owner.get("/v1/status") as answer:
        assert answer.status == 200, "who runs the sidecar sees what is wrong"


async def test_a_stopped_tenant_is_still_administered(anyone: aiohttp.ClientSession) -> None:
    async with anyone.put("/v1/switches/tenant/acme", json={"reason": "leak"}, headers=as_("ada")) as answer:
        assert answer.status == 200
    async with anyone.delete("/v1/switches/tenant/acme", headers=as_("ada")) as answer:
        assert answer.status == 200


async def test_a_failure_of_our_own_tells_nothing(owner: aiohttp.ClientSession, desk: Desk) -> None:
    desk.verbs.connectors._statistics = lambda _: 1 / 0  # type: ignore[assignment, return-value]  # a fault inside
    async with owner.get("/v1/connectors") as answer:
        assert await problem(answer) == (500, "internal_error")
        assert "division" not in await answer.text()


async def test_a_stale_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    for _ in range(2):
        opened = Desk().door
        await opened.start(path)
        await opened.close()
    path.unlink(missing_ok=True)
    path.write_text("tenant: acme")
    refused = Desk().door
    with pytest.raises(Misconfigured):
        await refused.start(path)
    await refused.close()
    assert path.read_text() == "tenant: acme"


async def test_a_socket_that_cannot_be_opened_says_where(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"admin\.sock"):
        await Desk().door.start(tmp_path / "nothing" / "admin.sock")


async def test_an_address_that_is_taken_says_which(door: str) -> None:
    with pytest.raises(Misconfigured, match=r"doors\.admin: cannot listen on 127\.0\.0\.1:"):
        await Desk().door.listen("127.0.0.1", int(door.rpartition(":")[2]), None)


async def test_a_door_that_was_never_opened_can_be_closed() -> None:
    await Desk().door.close()


async def read_document(session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get("/v1/openapi.json") as answer:
        document: dict[str, Any] = await answer.json()
        return document


async def test_its_document_is_served(owner: aiohttp.ClientSession) -> None:
    assert (await read_document(owner))["openapi"] == "3.1.0"
