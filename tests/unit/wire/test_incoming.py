"""What a connection does with bytes, ends and delays."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from sidecar.wire.message import STREAM_BYTES, Reply, Request
from sidecar.wire.open_connections import ServerLimits
from tests.attacks.door import WAIT, Door, conversation, parse, read_all, tell

HEAD = b"POST / HTTP/1.1\r\nHost: door\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"
SHORT = 0.2
SHORT_BODY = ServerLimits(body_seconds=SHORT)


def test_a_connection_that_asks_nothing_is_closed_without_a_word() -> None:
    with Door(ServerLimits(idle_seconds=SHORT)) as door, door.connect() as peer:
        assert read_all(peer) == b""
        assert door.refused == []


@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: door\r\n"])
def test_a_head_that_does_not_arrive(part: bytes) -> None:
    with Door(ServerLimits(head_seconds=SHORT)) as door:
        answers = door.exchange(part)
        assert [(answer.status, answer.header("connection")) for answer in answers] == [(408, "close")]


@pytest.mark.parametrize(
    "part",
    [b"Content-Length: 5\r\n\r\nabc", b"Content-Length: 5\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
)
def test_a_body_that_does_not_arrive(part: bytes) -> None:
    with Door(SHORT_BODY) as door:
        assert [answer.status for answer in door.exchange(HEAD + part)] == [408]


def test_a_slow_handler_is_not_the_peers_fault() -> None:
    asked = threading.Event()
    release: list[asyncio.Event] = []

    async def slow(request: Request) -> Reply:
        release.append(asyncio.Event())
        asked.set()
        await release[0].wait()
        return await tell(request)

    body = b"x" * (STREAM_BYTES * 4)
    with Door(SHORT_BODY, slow) as door, door.connect() as peer:
        peer.sendall(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        assert asked.wait(WAIT)
        peer.sendall(body)
        swept = door.run(_sweeps(door, 8))
        assert swept == 8
        door.loop.call_soon_threadsafe(release[0].set)
        assert len(parse(read_all(peer))[0].document["body"]) == len(body)


def test_a_peer_that_waits_for_100_continue_is_not_late() -> None:
    asked = threading.Event()
    release: list[asyncio.Event] = []

    async def slow(request: Request) -> Reply:
        release.append(asyncio.Event())
        asked.set()
        await release[0].wait()
        return await tell(request)

    with Door(SHORT_BODY, slow) as door, door.connect() as peer:
        peer.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        assert asked.wait(WAIT)
        door.run(_sweeps(door, 8))
        door.loop.call_soon_threadsafe(release[0].set)
        assert peer.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"hello")
        assert parse(read_all(peer))[0].document["body"] == "hello"


async def _sweeps(door: Door, count: int) -> int:
    """Wait until the server has looked at its clock ``count`` times."""
    seen = 0
    last = door.server.now
    async with asyncio.timeout(WAIT):
        while seen < count:
            await asyncio.sleep(0.005)
            seen += door.server.now != last
            last = door.server.now
    return seen


def test_a_body_in_two_parts_reaches_the_handler_at_once() -> None:
    answers, heard = conversation([HEAD + b"Content-Length: 5\r\n\r\n", b"he", b"llo" + LAST])
    assert [message["body"] for message in heard] == ["hello", ""]
    assert len(answers) == 2


def test_bytes_before_their_turn_are_bounded() -> None:
    """While a request is being answered the socket is read no further than ``ahead_bytes``."""
    asked = threading.Event()
    release: list[asyncio.Event] = []

    async def slow(request: Request) -> Reply:
        release.append(asyncio.Event())
        asked.set()
        await release[0].wait()
        release[0].set()
        return Reply(204, ())

    get = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"
    with Door(ServerLimits(ahead_bytes=1000), slow) as door, door.connect() as peer:
        peer.sendall(get)
        assert asked.wait(WAIT)
        peer.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while True:
                peer.sendall(get * 1000)
        assert len(door.heard) == 1


def test_a_body_behind_a_full_queue_does_not_stall() -> None:
    limits = ServerLimits(ahead_bytes=100)
    get = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"
    post = HEAD + b"Content-Length: 500\r\n\r\n"
    answers, heard = conversation([get * 5 + post, b"x" * 250, b"x" * 250, LAST], limits)
    assert [answer.status for answer in answers] == [200] * 7
    assert len(heard[5]["body"]) == 500


def test_h25_a_streamed_body_is_taken_only_as_fast_as_the_handler_reads() -> None:
    total = 30_000_000
    held: list[int] = []

    async def count(request: Request) -> Reply:
        seen = 0
        async for piece in request.stream():
            held.append(len(piece))
            seen += len(piece)
            await asyncio.sleep(0)
        return Reply(200, (), str(seen).encode())

    def body() -> list[bytes]:
        return [b"x" * 300_000] * (total // 300_000)

    with Door(ServerLimits(body_bytes=total), count) as door:
        counted = door.exchange([HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % total, *body()])
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body()]
        chunked = door.exchange(
            [HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]
        )
    assert [answer.body for answer in counted + chunked] == [str(total).encode()] * 2
    assert max(held) <= STREAM_BYTES + (1 << 18)  # what was held, and one read of the socket


def test_a_refused_peer_that_is_still_sending_is_not_reset() -> None:
    """A reset could destroy the reply before the peer has read it."""
    with Door() as door, door.connect() as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert parse(read_all(peer))[0].status == 400
        for _ in range(20):
            peer.sendall(b"x" * 1000)


def test_what_is_thrown_away_after_a_refusal_is_bounded() -> None:
    with Door() as door, door.connect() as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert parse(read_all(peer))[0].status == 400
        with pytest.raises(OSError, match=r"reset|pipe"):
            for _ in range(1000):
                peer.sendall(b"x" * 100_000)


def test_a_peer_that_leaves_inside_its_body_cancels_only_the_body() -> None:
    failures: list[str] = []
    done = threading.Event()

    async def read(request: Request) -> Reply:
        try:
            return await tell(request)
        except Exception as error:
            failures.append(str(error))
            raise
        finally:
            done.set()

    with Door(handler=read) as door:
        with door.connect() as peer:
            peer.sendall(HEAD + b"Content-Length: 5\r\n\r\nab")
            assert peer.getpeername()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # leave with a reset
        assert done.wait(WAIT)
    assert failures
    assert failures[0].split(":")[0] in ("cancelled", "malformed")
