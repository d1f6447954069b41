"""The incoming half of a connection: bytes become requests, one at a time.

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
in order, the queue is bounded by its bytes, and nothing after a malformed message is ever read as a message. The
sweep of the server calls ``check``; there is no timer per connection.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.errors import Refused
from sidecar.wire import encode
from sidecar.wire.gate import CHUNKED, Head, read_head
from sidecar.wire.message import Intake, Request
from sidecar.wire.open_connections import OpenConnections
from sidecar.wire.reading import BodyReader, HeadReader
from sidecar.wire.second import SecondReader
from sidecar.wire.writer import ReplyWriter

HEAD, BODY, BUSY, REFUSED, LINGER, CLOSED = range(6)

_PROGRESS_BYTES: Final = 1 << 18  # so much of a body buys it another ``body_seconds``
_LINGER_BYTES: Final = 1 << 24  # as large as a body may be configured: whoever sends too much can still read its 413
_LINGER_SECONDS: Final = 2.0
_NEVER: Final = float("inf")


class Incoming:
    """Judges what comes and hands it over in ``_next``; whoever waits in ``_waiter`` is woken."""

    __slots__ = (
        "_ahead", "_body", "_broken", "_deadline", "_ended", "_expecting", "_head", "_heads", "_intake", "_limits",
        "_loop", "_next", "_peer", "_progress", "_reading", "_second", "_server", "_state", "_transport", "_unread",
        "_waiter", "_write_deadline", "_writer", "task",
    )  # fmt: skip

    _transport: asyncio.Transport
    _writer: ReplyWriter

    def __init__(self, server: OpenConnections) -> None:
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
            self._deadline = self._server.now + self._limits.body_seconds
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
        if self._state == CLOSED:
            return
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
        elif self._state == BODY and (self._expecting or not self._reading):  # it is the handler that is slow
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
                # The handler learns it when it asks for the body: by then it has seen who sends it.
                self._begin_body(head, b"")
                self._fail_body(Refused("body_too_large", f"a body may have at most {self._limits.body_bytes} bytes"))
            elif head.body == CHUNKED or len(data) < end + head.body:
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
        else:
            self._resume()

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

    # Handing over, and the end

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

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
