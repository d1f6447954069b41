"""Writes replies to one connection, no faster than the peer reads."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from sidecar.wire import encode
from sidecar.wire.message import Reply

_JOIN_BYTES: Final = 1 << 16  # bodies up to this are copied into one write with their head
_TURN_BYTES: Final = 1 << 18  # of a stream, before other connections have their turn
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ReplyWriter:
    """One connection's outgoing side. ``lost`` is set once nothing can be sent any more."""

    __slots__ = ("_transport", "_writable", "lost")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable: asyncio.Future[None] | None = None
        self.lost = False

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """There is room again, or nobody to write to."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    async def room(self) -> None:
        """Return once the peer has read enough of what was written."""
        if self._writable is not None:
            await self._writable

    def whole(self, reply: Reply, body: bytes, date: bytes, connection: bytes, to_head: bool) -> None:
        """Write a reply whose body is at hand. Raises ``BadReplyError`` before the first byte."""
        status = reply.status
        framing = connection
        if encode.bodiless(status):
            body = b""
        else:
            framing = b"content-length: %d\r\n%b" % (len(body), connection)
            if to_head:
                body = b""
        if len(body) <= _JOIN_BYTES:
            self._transport.write(encode.message(status, reply.headers, framing, date, body))
        else:
            self._transport.writelines([encode.message(status, reply.headers, framing, date), body])

    async def stream(self, head: bytes, reply: Reply, body: AsyncIterator[bytes], chunked: bool) -> None:
        """Write ``head`` and then the body as it comes, chunked or delimited by the connection's end.

        Raises whatever the iterator (or ``trailers``) raised, after the connection was broken off: the peer sees no
        clean end. When the peer is lost it just stops. The iterator is always closed.
        """
        try:
            self._transport.write(head)
            await self._pieces(body, chunked)
            if chunked and not self.lost:
                trailers = encode.field_lines(reply.trailers()) if reply.trailers is not None else b""
                self._transport.write(b"0\r\n%b\r\n" % trailers)
        except BaseException:
            self.break_off()
            raise
        finally:
            await aclose(body)

    async def _pieces(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        turn = 0
        async for piece in body:
            if self.lost:
                return
            if not piece:  # an empty chunk would end the message
                continue
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            turn += len(piece)
            if self._writable is not None:
                await self._writable
            elif turn >= _TURN_BYTES:
                turn = 0
                await asyncio.sleep(0)

    def break_off(self) -> None:
        """End the connection so that nobody takes what was sent for a whole message: with a reset."""
        if not self.lost:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()


async def aclose(body: object) -> None:
    """Close an iterator that can be closed."""
    close: Callable[[], Awaitable[None]] | None = getattr(body, "aclose", None)
    if close is not None:
        await close()
