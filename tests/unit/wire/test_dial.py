"""Only checked addresses are dialled, in order, in time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from sidecar.errors import UpstreamFailure
from sidecar.wire.dial import Target, dial
from sidecar.wire.tls import client_context
from tests.fakes.certificates import Authority
from tests.fakes.upstream import Conversation, replies, upstream


class Probe(asyncio.Protocol):
    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.close()


def target(port: int, *addresses: str, tls: ssl.SSLContext | None = None, host: str = "api.example") -> Target:
    return Target("https" if tls else "http", host, port, addresses, tls)


async def silent(conversation: Conversation) -> None:
    await conversation.rest()


def soon(seconds: float = 5) -> float:
    return asyncio.get_running_loop().time() + seconds


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("scheme", "host", "port", "authority"),
    [
        ("http", "api.example", 80, b"api.example"),
        ("http", "api.example", 8080, b"api.example:8080"),
        ("http", "api.example", 443, b"api.example:443"),
        ("http", "::1", 80, b"[::1]"),
        ("http", "[::1]", 81, b"[::1]:81"),
    ],
)
def test_the_host_field(scheme: str, host: str, port: int, authority: bytes) -> None:
    assert Target(scheme, host, port, (), None).authority == authority


@pytest.mark.parametrize("address", ["localhost", "127.1", "2130706433", "::1%lo", "[::1]", "", "0x7f.0.0.1"])
def test_a25_names_are_never_looked_up(address: str) -> None:
    with pytest.raises(ValueError, match="only IP addresses"):
        target(80, "127.0.0.1", address)


def test_a97_scheme_and_tls_belong_together(tmp_path: Path) -> None:
    context = client_context(Authority(tmp_path).file)
    for scheme, tls in (("https", None), ("http", context), ("ftp", None)):
        with pytest.raises(ValueError, match="http without TLS"):
            Target(scheme, "h", 1, (), tls)


def test_a_context_that_does_not_verify_is_refused() -> None:
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        Target("https", "h", 443, (), lax)


async def test_the_first_address_that_answers_is_used() -> None:
    async with upstream(replies(b"")) as up:
        probe = await dial(target(up.port, "127.0.0.2", "127.0.0.1", "127.0.0.3"), Probe, soon())
        assert probe.peer == "127.0.0.1"
        probe.abort()


async def test_ipv6() -> None:
    async with upstream(replies(b""), host="::1") as up:
        probe = await dial(target(up.port, "::1"), Probe, soon())
        assert probe.peer == "::1"
        probe.abort()


async def test_a_refused_connection_was_not_sent() -> None:
    with pytest.raises(UpstreamFailure, match=r"api\.example refused") as failure:
        await dial(target(closed_port(), "127.0.0.1"), Probe, soon())
    assert (failure.value.code, failure.value.sent) == ("upstream_unavailable", False)


async def test_without_addresses_nothing_is_dialled() -> None:
    with pytest.raises(UpstreamFailure, match="no address"):
        await dial(target(80), Probe, soon())


async def test_a_silent_address_leaves_time_for_the_next() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.5", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.5", port))
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        try:
            probe = await dial(target(port, "127.0.0.5", "127.0.0.1"), Probe, soon(0.6))
            assert probe.peer == "127.0.0.1"
            probe.abort()
            with pytest.raises(UpstreamFailure) as failure:
                await dial(target(port, "127.0.0.5"), Probe, soon(0.1))
            assert (failure.value.code, failure.value.sent) == ("upstream_timeout", False)
        finally:
            server.close()
            await server.wait_closed()
            for filler in fillers:
                filler.close()


async def test_a_tls_failure_is_not_tried_elsewhere(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with upstream(replies(b""), tls=authority.server("other.example")) as up:
        tls = client_context(authority.file)
        with pytest.raises(UpstreamFailure, match="another name"):
            await dial(target(up.port, "127.0.0.1", "127.0.0.1", tls=tls), Probe, soon())
        assert up.connections <= 1


async def test_a_silent_tls_server_is_left_in_time(tmp_path: Path) -> None:
    async with upstream(silent) as up:
        tls = client_context(Authority(tmp_path).file)
        with pytest.raises(UpstreamFailure) as failure:
            await dial(target(up.port, "127.0.0.1", tls=tls), Probe, soon(0.1))
        assert failure.value.code == "upstream_timeout"
