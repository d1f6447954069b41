"""One connection of the server: its requests are answered in order, by one task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast

from sidecar.errors import Refused
from sidecar.wire import encode
from sidecar.wire.incoming import BODY, BUSY, HEAD, Incoming
from sidecar.wire.message import Reply, Request
from sidecar.wire.writer import ReplyWriter, aclose

_REQUESTS_A_TURN: Final = 32  # pipelined requests answered before other connections have their turn
_DISCARD_BYTES: Final = 1 << 16  # an unread body of at most this is skipped to keep the connection


class Connection(Incoming):
    """Created by ``Server`` for each accepted socket."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted. Over the cap it is answered 503 and closed; nothing of it is read."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such
        self._writer = ReplyWriter(transport)
        self._deadline = self._server.now + self._limits.idle_seconds
        if self._server.admit(self):
            # A peer that is gone already has no name.
            host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
            self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.task = self._server.serve(self._serve())
            return
        farewell = self._server.farewell()
        if farewell is None:
            transport.abort()
        else:
            transport.write(farewell)
            self._linger()

    async def _serve(self) -> None:
        turns = 0
        try:
            while not self._writer.lost:
                request = self._next
                if request is None:
                    turns = 0
                    self._waiter = self._loop.create_future()
                    await self._waiter
                    continue
                self._next = None
                if isinstance(request, Refused):
                    await self._answer_malformed(request, to_head=False)
                    return
                if not (await self._answer(request) and await self._next_message()):
                    self._end()
                    return
                turns += 1
                if turns % _REQUESTS_A_TURN == 0:
                    await asyncio.sleep(0)
        except Exception as error:
            self._server.report(error)
            self.abort()
        except asyncio.CancelledError:
            self.abort()
            raise

    async def _answer(self, request: Request) -> bool:
        """Answer one request. Returns whether the connection goes on."""
        server = self._server
        to_head = request.method == "HEAD"
        server.in_flight += 1
        try:
            try:
                reply = await server.handler(request)
            except Refused as refused:
                await self._answer_malformed(refused, to_head)
                return False
            except Exception as error:
                server.report(error)
                self._broken = True
                reply = encode.bare_problem("internal_error", "the sidecar failed; the call was not answered")
            return await self._write(reply, to_head)
        finally:
            server.in_flight -= 1

    async def _answer_malformed(self, refused: Refused, to_head: bool) -> None:
        server = self._server
        self._broken = True
        try:
            reply = await server.on_malformed(refused, self._peer)
        except Exception as error:
            server.report(error)
            reply = encode.bare_problem(refused.code, refused.detail)
        await self._write(reply, to_head)
        self._linger()

    async def _next_message(self) -> bool:
        """Turn to the next message. Returns False where there can be none."""
        await self._writer.room()
        if self._intake is not None:
            if not self._intake.complete:
                self._intake.discard()
                await self._intake.ended()
            self._intake = None
            self._body = None
        if self._writer.lost or self._broken or self._server.draining:
            return False
        self._state = HEAD
        self._deadline = self._server.now + self._limits.idle_seconds
        if not self._ahead:
            if self._ended:
                return False
            self._resume()
            return True
        data = bytes(self._ahead)
        self._ahead.clear()
        self._read_head(data)
        if self._ended:
            self._end_early()
        elif len(self._ahead) < self._limits.ahead_bytes and self._state != BODY:
            self._resume()
        return True

    def _end(self) -> None:
        if self._broken or self._ahead or self._state == BODY:
            self._linger()
        else:
            self.close()

    # Writing

    def _goes_on(self) -> bool:
        """Whether another message may follow the current one, as far as is known before its reply is written."""
        head = self._head
        if self._server.draining or self._broken or head is None or not head.keep_alive:
            return False
        if self._state == BUSY:
            return self._second.keep_alive and (not self._ended or bool(self._ahead))
        return not self._expecting and self._body is not None and self._body.skippable(_DISCARD_BYTES)

    async def _write(self, reply: Reply, to_head: bool) -> bool:
        """Write one reply. Returns whether the connection can go on."""
        body = reply.body
        if self._writer.lost:
            await aclose(body)
            return False
        try:
            if not isinstance(body, bytes):
                return await self._write_stream(reply, body, to_head)
            goes_on = self._goes_on()
            self._writer.whole(reply, body, self._server.date, b"" if goes_on else encode.CLOSE, to_head)
            return goes_on
        except encode.BadReplyError as error:  # raised before the first byte
            self._server.report(error)
            self._broken = True
            bare = encode.bare_problem("internal_error", "the sidecar failed; its answer could not be sent")
            return await self._write(bare, to_head)

    async def _write_stream(self, reply: Reply, body: AsyncIterator[bytes], to_head: bool) -> bool:
        head_only = to_head or encode.bodiless(reply.status)
        old = self._head is not None and self._head.http_1_0
        goes_on = self._goes_on()
        framing = (b"" if goes_on else encode.CLOSE) + (b"" if head_only or old else encode.CHUNKED)
        try:
            head = encode.message(reply.status, reply.headers, framing, self._server.date)
        except encode.BadReplyError:
            await aclose(body)
            raise
        if head_only:
            self._transport.write(head)
            await aclose(body)
            return goes_on
        try:
            await self._writer.stream(head, reply, body, chunked=not old)
        except Exception as error:
            self._server.report(error)
            return False
        return goes_on
