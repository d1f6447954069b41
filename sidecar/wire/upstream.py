"""One connection to an upstream: asks one request at a time, reads the answer, and says when it is free again.

    dialled -> resting -> asking -> answering -> resting ...      any state -> closed

Bytes that arrive while it rests close it: they would be read as the next answer. Whatever goes wrong closes it and
fails the answer. It is free again only after a cleanly finished answer with nothing behind it, whose request had
gone out whole.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from math import inf
from typing import Protocol, cast

from sidecar.errors import UpstreamFailure
from sidecar.wire.answer import Answer
from sidecar.wire.answer_gate import BadAnswer
from sidecar.wire.deadlines import Deadlines, Timeouts
from sidecar.wire.reader import AnswerReader


class Home(Protocol):
    """Who keeps the connection between requests."""

    def free(self, connection: Upstream) -> None:
        """It rests and may be used again."""

    def gone(self, connection: Upstream) -> None:
        """It has closed. Called once."""


class Upstream:
    """One connection. ``Deadlines`` uses ``deadline`` and ``expire``; ``Pool`` uses ``peer``, ``fit``, ``close``."""

    def __init__(self, peer: str, deadlines: Deadlines, idle_seconds: float) -> None:
        self.peer = peer
        self.deadline = inf
        self.closed = False
        self.home: Home | None = None
        self.sender: asyncio.Task[None] | None = None  # writes the rest of the request; ends with the exchange
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._deadlines = deadlines
        self._idle_seconds = idle_seconds
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._timeouts = Timeouts()
        self._total_at = inf
        self._answer: Answer | None = None
        self._head: asyncio.Future[None] | None = None
        self._request_whole = True
        self._reading_paused = False
        self._writable: asyncio.Future[None] | None = None

    # -- what a request does

    def ask(
        self, request: bytes, *, whole: bool, to_head: bool, head_bytes: int, timeouts: Timeouts, total_at: float
    ) -> tuple[Answer, asyncio.Future[None]]:
        """Send ``request``; the future is done when the answer has a status or a failure.

        ``whole`` is False when ``send_more`` follows. ``total_at`` is the loop time at which everything ends.
        """
        if self.closed or self._answer is not None:
            raise UpstreamFailure("upstream_unavailable", "the upstream closed the connection", sent=False)
        assert self._transport is not None
        self._timeouts, self._total_at = timeouts, total_at
        self._request_whole = whole
        self._reader.begin(to_head=to_head, head_bytes=head_bytes)
        self._answer = answer = Answer(self, self.peer)
        self._head = head = self._loop.create_future()
        self._due(self._loop.time() + timeouts.head if whole else total_at)
        self._transport.write(request)
        return answer, head

    def send_rest(self, body: bytes) -> None:
        """Write the rest of the request at once."""
        assert self._transport is not None
        self._transport.write(body)
        self._request_whole = True
        if self._reader.head is None:
            self._due(self._loop.time() + self._timeouts.head)

    async def send_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        """Write the rest of the request in the chunked coding, waiting while the upstream does not take it."""
        async for piece in pieces:
            if self._answer is None or self._transport is None:
                return
            if piece:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if self._writable is not None:
                self._due(self._loop.time() + self._timeouts.idle)
                await asyncio.shield(self._writable)
                self._due(self._total_at)
        if self._answer is not None:
            self.send_rest(b"0\r\n\r\n")

    def abort(self) -> None:
        """End it at once; the answer, if one is due, fails."""
        self._fail(UpstreamFailure("upstream_unavailable", "the exchange was given up", sent=True))

    def pause(self) -> None:
        """The consumer is slow: only the total time runs on."""
        if self._transport is not None and not self._reading_paused and not self.closed:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """The consumer has caught up."""
        if self._transport is None or self.closed:
            return
        if self._reader.backlog:
            self._loop.call_soon(self._read_on)
        elif self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
            self._due(self._loop.time() + self._timeouts.idle)

    # -- what the pool and the deadlines do

    def fit(self) -> bool:
        """Open, resting, and nothing unread in its socket (one poll, about a microsecond)."""
        return not self.closed and self._answer is None and not self._poll.poll(0)

    def close(self) -> None:
        """End it in good order where nothing is in flight."""
        if self._answer is not None:
            self.abort()
        elif not self.closed:
            assert self._transport is not None
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # the upstream does not take it: closing would wait for that
            else:
                self._transport.close()
            self._leave()

    def expire(self) -> None:
        """Its deadline has passed: a resting connection ends, a request fails."""
        if self._answer is None:
            self.close()
            return
        if self._loop.time() + 0.001 >= self._total_at:
            detail = "the upstream did not finish its answer in time"
        elif self._reader.head is None:
            detail = "the upstream did not begin its answer in time"
        else:
            detail = "the upstream paused its answer for too long"
        self._fail(UpstreamFailure("upstream_timeout", detail, sent=True))

    async def ended(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._lost)

    # -- what the event loop does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection rests from now on."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
        self._deadlines.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: of the answer, or of nobody."""
        if self._answer is None:
            self.close()
            return
        try:
            self._reader.feed(data)
        except BadAnswer as bad:
            self._refuse(bad)
        else:
            self._advance()

    def eof_received(self) -> None:
        """The upstream has ended its side in good order (FIN, or close_notify under TLS)."""
        if self._answer is None:
            return
        try:
            while self._reader.backlog:
                self._reader.resume()
            self._reader.end()
        except BadAnswer as bad:
            if self._reader.started:
                self._refuse(bad)
            else:
                self._fail(_closed())
        else:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed. Without an end in good order before it, the answer is not whole."""
        if exc is None and self._answer is not None and self._reader.started:
            self._refuse(BadAnswer("the connection ended before the answer did"))
        self._fail(_closed())
        self._reader.release()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """The upstream takes no more of the request."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It takes more."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    # -- the answer's way

    def _advance(self) -> None:
        """Hand over what the reader has."""
        reader, answer, head = self._reader, self._answer, self._head
        if answer is None or reader.head is None or head is None:
            return
        if not answer.status:
            answer.status, answer.headers = reader.head.status, reader.head.headers
            if not head.done():
                head.set_result(None)
        if reader.body:
            answer.put(reader.body)
            reader.body = []
        if reader.done:
            self._finish(answer)
            return
        self._due(self._total_at if answer.paused else self._loop.time() + self._timeouts.idle)
        if reader.backlog:
            self.pause()
        if self._reading_paused and not answer.paused:
            self.resume()

    def _read_on(self) -> None:
        """The next turn over a backlog of very small chunks."""
        if self._answer is None or self._answer.paused or not self._reader.backlog:
            return
        try:
            self._reader.resume()
        except BadAnswer as bad:
            self._refuse(bad)
        else:
            self._advance()

    def _finish(self, answer: Answer) -> None:
        """The answer is whole: the connection rests, or ends."""
        transport = self._transport
        assert transport is not None
        clean = self._reader.reusable and self._request_whole and not transport.get_write_buffer_size()
        self._answer = self._head = None
        answer.end()
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        if clean and self.home is not None and not transport.is_closing():
            self.deadline = self._loop.time() + self._idle_seconds
            if self.deadline < self._deadlines.next:
                self._deadlines.note(self.deadline)
            self.home.free(self)
        else:
            self.close()

    def _refuse(self, bad: BadAnswer) -> None:
        self._fail(UpstreamFailure("upstream_invalid", f"the upstream's answer is not acceptable: {bad}", sent=True))

    def _fail(self, failure: UpstreamFailure) -> None:
        answer, head = self._answer, self._head
        self._answer = self._head = None
        if not self.closed:
            if self._transport is not None:
                self._transport.abort()
            self._leave()
        if answer is not None:
            answer.end(failure)
        if head is not None and not head.done():
            head.set_result(None)

    def _leave(self) -> None:
        self.closed = True
        self.deadline = inf
        self._deadlines.discard(self)
        self.resume_writing()
        if self.sender is not None:
            self.sender.cancel()
        if self.home is not None:
            self.home.gone(self)

    def _due(self, moment: float) -> None:
        """Set the deadline: ``moment``, or the end of everything if that is sooner."""
        self.deadline = min(moment, self._total_at)
        if self.deadline < self._deadlines.next:
            self._deadlines.note(self.deadline)


def _closed() -> UpstreamFailure:
    return UpstreamFailure("upstream_unavailable", "the upstream closed the connection", sent=True)
