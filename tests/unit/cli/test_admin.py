"""What the command line says of a sidecar's admin socket when it does not answer as it should."""

from __future__ import annotations

import asyncio
import errno
import json
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.cli import admin
from sidecar.cli.admin import Answered, ask, document, socket_of
from sidecar.errors import Misconfigured, Reason, SidecarError, Unavailable
from tests.unit.config.builders import GOOD, changed, written

REFUSAL = {"code": "unknown_connector", "detail": "No connector 'x' is configured.", "reasons": []}


def reply(status: int, content: object, kind: str = "application/json", more: str = "") -> bytes:
    body = json.dumps(content).encode() if "json" in kind else str(content).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@asynccontextmanager
async def door(
    path: Path, answer: bytes, seen: list[bytes] | None = None, silent: asyncio.Event | None = None
) -> AsyncIterator[Path]:
    """A socket that gives every connection ``answer``, once ``silent`` is set."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"" if b"content-length:" not in head.lower() else await reader.read(1000)
        if seen is not None:
            seen.append(head + body)
        if silent is not None:
            await silent.wait()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(talk, path)
    try:
        yield path
    finally:
        if silent is not None:
            silent.set()
        server.close()
        await server.wait_closed()


def test_the_socket_is_where_the_configuration_says(tmp_path: Path) -> None:
    assert socket_of(str(written(tmp_path, GOOD))) == tmp_path / "admin.sock"
    named = written(tmp_path, changed("doors.admin_socket", "/run/x.sock"))
    assert socket_of(str(named)) == Path("/run/x.sock")
    with pytest.raises(Misconfigured):
        socket_of(str(tmp_path / "nothing.yaml"))


async def test_a_request_and_its_answer(tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with door(tmp_path / "s", reply(200, {"n": 1}, more="Sidecar-Evidence-Id: acme-0/3\r\n"), seen) as path:
        answered = await asyncio.to_thread(ask, path, "POST", "/v1/reload", {"parameters": None})
        assert answered == Answered(200, "acme-0/3", {"n": 1})
        assert await asyncio.to_thread(document, path, "GET", "/v1/status") == {"n": 1}
    assert seen[0].startswith(b"POST /v1/reload HTTP/1.1\r\n")
    assert json.loads(seen[0].partition(b"\r\n\r\n")[2]) == {"parameters": None}


async def test_text_stays_text(tmp_path: Path) -> None:
    async with door(tmp_path / "s", reply(200, "{}", "text/plain")) as path:
        assert await asyncio.to_thread(ask, path, "GET", "/") == Answered(200, None, "{}")


async def test_a_document_that_is_refused_carries_the_doors_own_reason(tmp_path: Path) -> None:
    reasons = [{"code": "required", "message": "id is missing"}]
    async with door(tmp_path / "s", reply(404, REFUSAL | {"reasons": reasons}, "application/problem+json")) as path:
        with pytest.raises(SidecarError) as caught:
            await asyncio.to_thread(document, path, "GET", "/v1/connectors/x")
    assert (caught.value.code, caught.value.detail) == ("unknown_connector", REFUSAL["detail"])
    assert caught.value.reasons == (Reason("required", "id is missing"),)


async def test_an_answer_that_is_no_problem_is_a_failure_all_the_same(tmp_path: Path) -> None:
    async with door(tmp_path / "s", reply(500, "broken", "text/plain")) as path:
        with pytest.raises(SidecarError) as caught:
            await asyncio.to_thread(document, path, "GET", "/")
    assert caught.value.code == "internal_error"


@pytest.mark.parametrize("stale", [False, True])
def test_no_sidecar_listens(tmp_path: Path, stale: bool) -> None:
    path = tmp_path / "admin.sock"
    if stale:
        path.write_text("")
    with pytest.raises(Unavailable, match=r"admin\.sock.*sidecar run"):
        ask(path, "GET", "/v1/status")


def test_who_may_not_open_the_socket_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(BaseSelectorEventLoop, "sock_connect", forbidden)  # root is never refused by a file's mode
    with pytest.raises(Misconfigured, match="the user who runs the sidecar"):
        ask(tmp_path / "admin.sock", "GET", "/v1/status")


@pytest.mark.parametrize("answer", [b"", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"])
async def test_a_broken_answer_is_no_traceback(tmp_path: Path, answer: bytes) -> None:
    async with door(tmp_path / "s", answer) as path:
        with pytest.raises(Unavailable, match="did not answer"):
            await asyncio.to_thread(ask, path, "GET", "/v1/status")


async def test_a_sidecar_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_TIMEOUT_SECONDS", 0.05)
    async with door(tmp_path / "s", b"", silent=asyncio.Event()) as path:
        with pytest.raises(Unavailable, match="did not answer"):
            await asyncio.to_thread(ask, path, "GET", "/v1/status")
