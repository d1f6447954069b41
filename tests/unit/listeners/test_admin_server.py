"""aiohttp under the administrators' door: bounded, and no answer but the door's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from sidecar.listeners import admin_server
from sidecar.listeners.admin_server import code_of
from tests.fakes.desk import Desk


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def port(desk: Desk) -> AsyncIterator[int]:
    yield await desk.door.listen("127.0.0.1", 0, None)
    await desk.door.close()


async def told(port: int, sent: bytes) -> tuple[int, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head.lower()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_a_problem_document(desk: Desk, port: int, sent: bytes) -> None:
    status, problem = await told(port, sent)
    assert (status, problem["code"]) == (400, "malformed")
    assert set(problem) >= {"type", "title", "status", "detail"}
    assert "Traceback" not in json.dumps(problem)
    await desk.door.close()
    assert [(leaf.code, leaf.surface) for leaf in desk.stage.evidence.leaves] == [("malformed", "admin")]


async def test_a_head_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "HEAD_SECONDS", 0.05)
    door = Desk().door
    reader, writer = await asyncio.open_connection("127.0.0.1", await door.listen("127.0.0.1", 0, None))
    writer.write(b"GET / HTTP/1.1\r\nHost: loc")
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await door.close()


async def test_more_connections_than_there_may_be_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "CONNECTIONS", 2)
    door = Desk().door
    port = await door.listen("127.0.0.1", 0, None)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    with suppress(ConnectionError):
        assert await asyncio.wait_for(opened[2][0].read(), 10) == b""
    opened[0][1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"403" in await asyncio.wait_for(opened[0][0].readline(), 10)
    for _, writer in opened:
        writer.close()
    await door.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "malformed"),
        (431, "headers_too_large"),
        (413, "body_too_large"),
        (500, "internal_error"),
        (417, "malformed"),
    ],
)
def test_a_status_of_aiohttp_has_a_code_of_ours(status: int, code: str) -> None:
    assert code_of(status) == code
