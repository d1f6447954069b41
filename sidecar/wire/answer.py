"""One upstream's answer, as it is handed to the caller while its body still arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from sidecar.errors import UpstreamFailure
from sidecar.wire.fields import Fields

HIGH_WATER: Final = 256 * 1024  # bytes held for a slow consumer before the upstream is told to wait
LOW_WATER: Final = 64 * 1024


class Source(Protocol):
    """Where an answer's bytes come from."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read on."""

    def abort(self) -> None:
        """End the connection at once; the answer fails."""


class Answer:
    """Status and headers (lower-case names) of an answer, and its body once: ``read`` it or ``stream`` it.

    ``peer`` is the address that was dialled; ``ended`` and ``failure`` say what came of it. An answer that is
    neither read to its end nor aborted holds its connection until a timeout ends both.
    """

    __slots__ = (
        "_held", "_paused", "_pieces", "_source", "_waiter", "ended", "failure", "headers", "peer", "status",
    )  # fmt: skip

    def __init__(self, source: Source, peer: str) -> None:
        self.status = 0
        self.headers: Fields = []
        self.peer = peer
        self._source = source
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self.ended = False
        self.failure: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, limit: int) -> bytes:
        """The whole body of at most ``limit`` bytes.

        Raises ``UpstreamFailure``: ``answer_too_large`` beyond the limit, before any such body was collected. A
        reading that fails or is cancelled ends the connection.
        """
        if self.ended and self.failure is None and self._held <= limit:
            return self._take_all()
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limit and not self.ended:
                raise self.too_large(limit)
        return b"".join([piece async for piece in Body(self, limit)])

    def stream(self, limit: int | None = None) -> Body:
        """The body's pieces as they arrive; a slow consumer slows the upstream down.

        Raises ``UpstreamFailure`` where the answer breaks off, and ``answer_too_large`` instead of handing over the
        piece that crosses ``limit``. Closing the iterator early ends the connection, begun or not.
        """
        return Body(self, limit)

    def abort(self) -> None:
        """Give the answer up. Ends the connection unless the whole answer has already come."""
        self._pieces.clear()
        self._held = 0
        if not self.ended:
            self._source.abort()

    @property
    def paused(self) -> bool:
        """Whether the upstream waits for the consumer."""
        return self._paused

    def put(self, pieces: list[bytes]) -> None:
        """For the connection: body bytes have come."""
        for piece in pieces:
            self._pieces.append(piece)
            self._held += len(piece)
        if self._held > HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause()
        self._wake()

    def end(self, failure: UpstreamFailure | None = None) -> None:
        """For the connection: nothing more will come."""
        if not self.ended:
            self.ended = True
            self.failure = failure
            self._wake()

    async def next(self) -> bytes:
        """The next piece; empty at the end. Raises ``UpstreamFailure`` where the answer broke off."""
        while not self._pieces:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._paused and self._held < LOW_WATER:
            self._paused = False
            if not self.ended:
                self._source.resume()
        return piece

    def _take_all(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        return body

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def too_large(self, limit: int) -> UpstreamFailure:
        """Give the answer up, because its body has more than ``limit`` bytes."""
        self.abort()
        return UpstreamFailure("answer_too_large", f"the upstream's answer has more than {limit} bytes", sent=True)


class Body:
    """An answer's body as an iterator. A reading that fails, and closing it before its end, end the connection.

    A class and not a generator: closing a generator that has not begun would run nothing and end nothing.
    """

    __slots__ = ("_answer", "_limit", "_total")

    def __init__(self, answer: Answer, limit: int | None) -> None:
        self._answer = answer
        self._limit = limit
        self._total = 0

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        answer, limit = self._answer, self._limit
        try:
            piece = await answer.next()
        except BaseException:
            answer.abort()
            raise
        if not piece:
            raise StopAsyncIteration
        self._total += len(piece)
        if limit is not None and self._total > limit:
            raise answer.too_large(limit)
        return piece

    async def aclose(self) -> None:
        """Let go of the answer, and of its connection unless the whole of it has come."""
        self._answer.abort()
