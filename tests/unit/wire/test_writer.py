"""Writing no faster than the peer reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sidecar.wire.encode import BadReplyError
from sidecar.wire.message import Reply
from sidecar.wire.writer import ReplyWriter, aclose
from tests.attacks.door import MemoryTransport, pieces_of


class Counted:
    """A body of ``count`` pieces that knows how many were taken."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self.closed = False
        self._count = count

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            while self.taken < self._count:
                self.taken += 1
                yield b"x" * 10
        finally:
            self.closed = True


def test_a_large_body_is_not_copied_into_its_head() -> None:
    transport = MemoryTransport()
    ReplyWriter(transport).whole(Reply(200, ()), b"x" * 100_000, b"", b"", to_head=False)
    assert bytes(transport.written) == b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000


def test_nothing_is_written_of_a_bad_reply() -> None:
    transport = MemoryTransport()
    with pytest.raises(BadReplyError):
        ReplyWriter(transport).whole(Reply(200, ((b"a", b"\r\n"),)), b"", b"", b"", to_head=False)
    assert transport.written == b""


async def test_a_stream_waits_for_room() -> None:
    writer, body = ReplyWriter(MemoryTransport()), Counted(10)
    writer.pause()
    streaming = asyncio.ensure_future(writer.stream(b"head", Reply(200, ()), body.pieces(), chunked=True))
    for _ in range(20):
        await asyncio.sleep(0)
    taken_while_paused = body.taken
    writer.resume()
    await streaming
    assert (taken_while_paused, body.taken, body.closed) == (1, 10, True)


async def test_a_stream_stops_when_the_peer_is_lost() -> None:
    writer, body = ReplyWriter(MemoryTransport()), Counted(10)
    writer.pause()
    streaming = asyncio.ensure_future(writer.stream(b"head", Reply(200, ()), body.pieces(), chunked=True))
    for _ in range(5):
        await asyncio.sleep(0)
    writer.lost = True
    writer.resume()
    await streaming
    assert body.taken == 2  # the piece that was on its way is thrown away
    assert body.closed


async def test_a_stream_that_never_waits_lets_others_have_their_turn() -> None:
    writer = ReplyWriter(MemoryTransport())
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    pieces = pieces_of(*[b"x" * 100_000] * 30)
    await writer.stream(b"", Reply(200, ()), pieces, chunked=False)
    beside.cancel()
    assert others >= 8


async def test_room_is_there_at_once_when_nothing_waits() -> None:
    writer = ReplyWriter(MemoryTransport())
    await writer.room()
    writer.pause()
    waiting = asyncio.ensure_future(writer.room())
    await asyncio.sleep(0)
    had_to_wait = not waiting.done()
    writer.resume()
    await waiting
    assert had_to_wait


async def test_what_cannot_be_closed_is_left_alone() -> None:
    await aclose(b"bytes")
