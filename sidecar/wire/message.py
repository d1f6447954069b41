"""A request as the handler sees it, and the reply it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from sidecar.errors import Refused
from sidecar.wire.fields import Fields

STREAM_BYTES: Final = 1 << 16  # body bytes held before the sender is paused


class Reply(NamedTuple):
    """What the handler answers.

    ``headers`` are without framing, ``connection`` and ``date``: the server writes these and drops the handler's. An
    iterator is sent as it comes, chunked (HTTP/1.0: until close); ``trailers`` is called after its last piece.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes] = b""
    trailers: Callable[[], Sequence[tuple[bytes, bytes]]] | None = None


class Sender(Protocol):
    """The connection a body comes from."""

    def body_wanted(self) -> None:
        """The handler waits for the body: a client that waits for ``100 Continue`` may begin."""

    def body_taken(self) -> None:
        """There is room again: read on."""


class Intake:
    """A body that is still arriving. The connection puts bytes in, the one handler takes them out.

    ``full`` asks the connection to pause. Every failure (a bad chunk, a timeout, a lost peer) reaches the handler as
    the ``Refused`` it was given, once it asks for bytes.
    """

    __slots__ = ("_discarded", "_failure", "_pieces", "_room", "_sender", "_size", "_waiter", "complete", "declared")

    def __init__(self, sender: Sender, declared: int) -> None:
        """``declared`` is the Content-Length, or -1 when it is not known."""
        self._sender = sender
        self._pieces: list[bytes] = []
        self._size = 0
        self._room = STREAM_BYTES
        self._failure: Refused | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._discarded = False
        self.declared = declared
        self.complete = False

    @property
    def full(self) -> bool:
        """Whether more is held than the handler asked for."""
        return self._size >= self._room

    def put(self, data: bytes) -> None:
        """More of the body."""
        if self._discarded:
            return
        self._pieces.append(data)
        self._size += len(data)
        self._wake()

    def finish(self) -> None:
        """The whole body has been put."""
        self.complete = True
        self._wake()

    def fail(self, refused: Refused) -> None:
        """No more will come."""
        if not self.complete and self._failure is None:
            self._failure = refused
            self._wake()

    def discard(self) -> None:
        """Nobody wants the rest: take it and forget it."""
        self._pieces.clear()
        self._size = 0
        self._discarded = True
        self._sender.body_taken()

    async def ended(self) -> None:
        """Return once the rest of a discarded body has come, or never will."""
        while not self.complete and self._failure is None:
            await self._wait()

    async def read(self, limit: int) -> bytes:
        """The whole body of at most ``limit`` bytes."""
        if self.declared > limit:
            raise Refused("body_too_large", f"the body may have at most {limit} bytes")
        self._room = limit + 1
        if not self.complete:
            self._sender.body_wanted()
            self._sender.body_taken()
        while True:
            if self._size > limit:
                raise Refused("body_too_large", f"the body may have at most {limit} bytes")
            if self.complete:
                return b"".join(self._pieces)
            if self._failure is not None:
                raise self._failure
            await self._wait()

    async def next(self) -> bytes:
        """What has come since the last piece, once there is something; empty at the end."""
        if not self.complete:
            self._sender.body_wanted()
        while not self._pieces:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._sender.body_taken()
        return data

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


class Request:
    """One accepted request. ``headers`` have lower-cased names, in order; ``target`` is the raw origin-form."""

    __slots__ = ("_body", "headers", "method", "peer", "target")

    def __init__(self, method: str, target: str, headers: Fields, peer: str, body: bytes | Intake = b"") -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.peer = peer
        self._body = body

    def header(self, name: bytes) -> bytes | None:
        """The one value of ``name`` (lower-case). Raises ``Refused("malformed")`` if it occurs twice."""
        found: bytes | None = None
        for key, value in self.headers:
            if key == name:
                if found is not None:
                    raise Refused("malformed", f"the header {name.decode('ascii')} may occur only once")
                found = value
        return found

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ``Refused``: ``body_too_large`` over ``limit`` bytes, ``request_timeout``,
        ``malformed`` for bad framing and ``cancelled`` when the peer is gone.
        """
        body = self._body
        if type(body) is not bytes:
            assert isinstance(body, Intake)
            body = self._body = await body.read(limit)
        if len(body) > limit:
            raise Refused("body_too_large", f"the body may have at most {limit} bytes")
        return body

    def stream(self) -> Pieces:
        """The body in pieces; the sender is paused while 64 KiB wait to be taken. Raises as ``read`` does."""
        return Pieces(self._body)


class Pieces:
    """A request's body as an iterator."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes | Intake) -> None:
        self._body = body

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        body = self._body
        if isinstance(body, Intake):
            piece = await body.next()
        else:
            piece, self._body = body, b""
        if not piece:
            raise StopAsyncIteration
        return piece
