"""One connection of the server: bytes in, requests one at a time, replies in order.

State    holds while                              bytes that come are
-------  ---------------------------------------  -----------------------------------------------
HEAD     no whole head has come                   gathered until the empty line, then judged
BODY     the head was accepted, the body is not   the body; what follows it waits unread
         all there; the handler already runs
BUSY     the message is whole, not yet answered   the next messages: kept unread, bounded
REFUSED  the message was bad, not yet answered    thrown away, bounded
LINGER   the last reply is written                thrown away until the peer closes, bounded
CLOSED   the socket is gone

Pipelined messages are not parsed ahead: the next head is judged once the answer before it is written. So answers are
in order, the queue is bounded by its bytes, and nothing after a malformed message is ever read as a message. One
task serves the whole connection. The sweep of the server calls ``check``; there is no timer per connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, cast

from sidecar.errors import Refused
from sidecar.wire import encode
from sidecar.wire.gate import CHUNKED, Head, read_head
from sidecar.wire.message import Intake, Reply, Request
from sidecar.wire.reading import BodyReader, HeadReader
from sidecar.wire.second import SecondReader
from sidecar.wire.writer import ReplyWriter, aclose

if TYPE_CHECKING:
    from sidecar.wire.server import Server

HEAD, BODY, BUSY, REFUSED, LINGER, CLOSED = range(6)

_REQUESTS_A_TURN: Final = 32  # pipelined requests answered before other connections have their turn
_PROGRESS_BYTES: Final = 1 << 18  # so much of a body buys it another ``body_seconds``
_DISCARD_BYTES: Final = 1 << 16  # an unread body of at most this is skipped to keep the connection
_LINGER_BYTES: Final = 1 << 20
_LINGER_SECONDS: Final = 2.0
_NEVER: Final = float("inf")


class Connection(asyncio.Protocol):
    """Created by ``Server`` for each accepted socket."""

    __slots__ = (
        "_ahead", "_body", "_broken", "_deadline", "_ended", "_expecting", "_head", "_heads", "_intake", "_limits",
        "_loop", "_next", "_peer", "_progress", "_reading", "_second", "_server", "_state", "_transport", "_unread",
        "_waiter", "_write_deadline", "_writer", "task",
    )  # fmt: skip

    _transport: asyncio.Transport
    _writer: ReplyWriter

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._state = HEAD
        self._heads = HeadReader(server.limits.head_bytes)
        self._second = SecondReader()
        self._head: Head | None = None  # of the current message
        self._body: BodyReader | None = None  # of a message that did not come in one piece
        self._intake: Intake | None = None
        self._ahead = bytearray()  # bytes that came before their turn
        self._unread = _LINGER_BYTES  # bytes that may still be thrown away
        self._progress = 0
        self._expecting = False  # the client waits for 100 Continue
        self._next: Request | Refused | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None  # serves the connection; None where it was not admitted
        self._deadline = _NEVER
        self._write_deadline = _NEVER
        self._reading = True
        self._ended = False  # the peer sends no more
        self._broken = False  # no further message may be read
        self._peer = ""

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted. Over the cap it is answered 503 and closed; nothing of it is read."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such
        self._writer = ReplyWriter(transport)
        self._deadline = self._server.now + self._limits.idle_seconds
        if not self._server.admit(self):
            farewell = self._server.farewell()
            if farewell is None:
                transport.abort()
            else:
                transport.write(farewell)
                self._linger()
            return
        host, port = transport.get_extra_info("peername")[:2]
        self._peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        """More bytes; what they are depends on the state."""
        state = self._state
        if state == HEAD:
            self._read_head(data)
        elif state == BODY and not self._ahead:
            self._read_body(data)
        elif state in (BODY, BUSY):
            self._keep(data)
        else:
            self._unread -= len(data)
            if self._unread < 0:
                self.abort()

    def eof_received(self) -> bool:
        """The peer sends no more. What it asked before is still answered."""
        self._ended = True
        if self._state == HEAD and not self._heads.started:
            return False
        self._end_early()
        return self._state != LINGER

    def connection_lost(self, _: Exception | None) -> None:
        """The socket is gone. The handler, if one runs, is left to finish; its reply has nowhere to go."""
        self._state = CLOSED
        self._writer.lost = True
        if self._intake is not None:
            self._intake.fail(Refused("cancelled", "the caller went away before its request was whole"))
        self.resume_writing()
        self._wake()
        self._server.forget(self)

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        self._writer.pause()
        self._write_deadline = self._server.now + self._limits.write_seconds

    def resume_writing(self) -> None:
        """The peer has read on."""
        self._writer.resume()
        self._write_deadline = _NEVER

    # What the handler tells, through the body it reads

    def body_wanted(self) -> None:
        """The handler asks for the body: answer ``Expect: 100-continue``."""
        if self._expecting and self._state == BODY:
            self._expecting = False
            self._transport.write(encode.CONTINUE)

    def body_taken(self) -> None:
        """The handler took what was held: read on."""
        if self._reading or self._state != BODY:
            return
        self._deadline = self._server.now + self._limits.body_seconds
        if self._ahead:
            self._loop.call_soon(self._read_on)
        else:
            self._resume()

    # What the server tells

    @property
    def idle(self) -> bool:
        """Whether no whole head waits for its answer."""
        return self._state == HEAD

    def check(self, now: float) -> None:
        """Called by the sweep: end what has taken too long."""
        if now >= self._write_deadline:
            self.abort()
        elif now >= self._deadline:
            self._deadline = _NEVER
            self._expired(now)

    def close(self) -> None:
        """Close once everything written was sent, and not much later."""
        self._state = LINGER
        self._deadline = self._server.now + self._linger_seconds()
        self._transport.close()

    def abort(self) -> None:
        """Close now, whatever was not sent."""
        self._transport.abort()

    def _expired(self, now: float) -> None:
        if self._state == HEAD and self._heads.started:
            self._refuse(Refused("request_timeout", "the request head took too long"))
        elif self._state == HEAD:
            self.close()
        elif self._state == BODY and not self._reading:  # it is the handler that is slow
            self._deadline = now + self._limits.body_seconds
        elif self._state == BODY:
            self._fail_body(Refused("request_timeout", "the request body took too long"))
        else:
            self.abort()

    # Reading

    def _read_head(self, data: bytes) -> None:
        first = not self._heads.started
        try:
            found = self._heads.feed(data)
            if found is None:
                if first:
                    self._deadline = self._server.now + self._limits.head_seconds
                return
            data, end = found
            head = read_head(data[:end] if len(data) > end else data, self._limits.headers)
            if head.body > self._limits.body_bytes:
                raise Refused("body_too_large", f"a body may have at most {self._limits.body_bytes} bytes")
            if head.body == CHUNKED or len(data) < end + head.body:
                self._begin_body(head, data[end:])
            else:
                self._take_whole(head, data, end)
        except Refused as refused:
            self._refuse(refused)

    def _take_whole(self, head: Head, data: bytes, end: int) -> None:
        """The usual case: one small message in one piece."""
        length = head.body
        whole = end + length
        more = len(data) > whole
        if len(head.raw) != end:  # an ignored Upgrade was taken out of it
            self._second.begin(head, head.raw + data[end:whole])
        else:
            self._second.begin(head, data[:whole] if more else data)
        self._second.expect(True)
        self._head = head
        self._state = BUSY
        self._deadline = _NEVER
        if more:
            self._keep(data[whole:])
        self._next = Request(head.method, head.target, head.headers, self._peer, data[end:whole] if length else b"")
        self._wake()

    def _begin_body(self, head: Head, rest: bytes) -> None:
        self._second.begin(head, head.raw)
        self._second.expect(False)
        self._head = head
        self._state = BODY
        self._deadline = self._server.now + self._limits.body_seconds
        self._progress = _PROGRESS_BYTES
        self._expecting = head.expects_continue
        self._intake = Intake(self, head.body)
        self._body = BodyReader(head, self._second, self._intake, self._limits.body_bytes)
        self._next = Request(head.method, head.target, head.headers, self._peer, self._intake)
        self._wake()
        if rest:
            self._read_body(rest)

    def _read_on(self) -> None:
        if self._state == BODY and self._ahead:
            data = bytes(self._ahead)
            self._ahead.clear()
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        assert self._intake is not None
        assert self._body is not None
        self._expecting = False
        self._progress -= len(data)
        if self._progress <= 0:
            self._progress = _PROGRESS_BYTES
            self._deadline = self._server.now + self._limits.body_seconds
        try:
            rest, done = self._body.feed(data)
        except Refused as refused:
            self._fail_body(refused)
            return
        if done:
            self._state = BUSY
            self._deadline = _NEVER
            self._resume()
            self._keep(rest)
            self._intake.finish()
        elif rest or self._intake.full:
            self._ahead += rest
            self._pause()
            if not self._intake.full:
                self._loop.call_soon(self._read_on)
        elif self._ended:
            self._end_early()
        else:
            self._resume()

    def _end_early(self) -> None:
        """The peer's end came. If it came inside a message, that message is malformed."""
        if self._state == HEAD:
            self._refuse(Refused("malformed", "the request ended before its head did"))
        elif self._state == BODY and not self._ahead:
            self._fail_body(Refused("malformed", "the request ended before its body did"))

    def _fail_body(self, refused: Refused) -> None:
        """Nothing more can be read; the handler learns why when it asks for the body."""
        assert self._intake is not None
        self._state = BUSY
        self._deadline = _NEVER
        self._broken = True
        self._ahead.clear()
        self._pause()
        self._intake.fail(refused)

    def _refuse(self, refused: Refused) -> None:
        self._state = REFUSED
        self._deadline = _NEVER
        self._broken = True
        self._heads.clear()
        self._ahead.clear()
        self._next = refused
        self._wake()

    def _keep(self, rest: bytes) -> None:
        if rest and not self._broken:
            self._ahead += rest
            if len(self._ahead) >= self._limits.ahead_bytes:
                self._pause()

    def _pause(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    # Serving

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

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
                    self._linger()
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
            self._writer.whole(reply, body, self._server.date, self._connection(goes_on), to_head)
            return goes_on
        except encode.BadReplyError as error:  # raised before the first byte
            self._server.report(error)
            self._broken = True
            bare = encode.bare_problem("internal_error", "the sidecar failed; its answer could not be sent")
            return await self._write(bare, to_head)

    async def _write_stream(self, reply: Reply, body: AsyncIterator[bytes], to_head: bool) -> bool:
        head_only = to_head or encode.bodiless(reply.status)
        old = self._head is not None and self._head.http_1_0
        goes_on = self._goes_on() and (head_only or not old)
        framing = self._connection(goes_on) + (b"" if head_only or old else encode.CHUNKED)
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

    def _connection(self, goes_on: bool) -> bytes:
        if not goes_on:
            return encode.CLOSE
        return encode.KEEP_ALIVE if self._head is not None and self._head.http_1_0 else b""

    def _linger_seconds(self) -> float:
        return self._limits.write_seconds if self._transport.get_write_buffer_size() else _LINGER_SECONDS

    def _linger(self) -> None:
        """Close so that the peer can read the reply: end our side, then wait a little for it to end its own.

        A socket that is closed with unread input is reset, and a reset destroys what the peer has not read yet.
        """
        if self._state in (LINGER, CLOSED) or self._transport.is_closing():
            return
        self._state = LINGER
        self._ahead.clear()
        self._deadline = self._server.now + self._linger_seconds()
        if self._ended:
            self._transport.close()
        else:
            self._transport.write_eof()
            self._resume()
