"""Finds where a request's head and its body end, with both readers, as the bytes come."""

from __future__ import annotations

from typing import Final

from sidecar.errors import Refused
from sidecar.wire.chunks import ChunkScanner
from sidecar.wire.gate import CHUNKED, Head, hopeless
from sidecar.wire.message import Intake
from sidecar.wire.second import SecondReader

_CHUNKS_A_TURN: Final = 4096  # about 5 ms


class HeadReader:
    """Gathers one head after the other. What it refuses it refuses however the bytes were cut."""

    __slots__ = ("_held", "_limit", "_scanned")

    def __init__(self, limit: int) -> None:
        """``limit``: bytes of a head, its empty line included."""
        self._limit = limit
        self._held = bytearray()
        self._scanned = 0

    @property
    def started(self) -> bool:
        """Whether a part of a head has come."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[bytes, int] | None:
        """All bytes from the head's first on and where the head ends in them, or None while it is not whole.

        Raises ``Refused``: ``headers_too_large``, or ``malformed`` as soon as nothing that follows could mend it.
        """
        held = self._held
        if held:
            held += data
            end = held.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        else:
            end = data.find(b"\r\n\r\n") + 4
        if 4 <= end <= self._limit:
            if held:
                data = bytes(held)
                self.clear()
            return data, end
        if not held:
            held += data
        if hopeless(held, max(0, self._scanned - 1), self._limit):
            raise Refused("malformed", "the request head holds a control character or a bare line end")
        if len(held) > self._limit:
            raise Refused("headers_too_large", f"a request head may have at most {self._limit} bytes")
        self._scanned = len(held)
        return None

    def clear(self) -> None:
        """Forget what has come."""
        self._held.clear()
        self._scanned = 0


class BodyReader:
    """Reads one body into its intake: by its Content-Length or in chunks, at most ``limit`` bytes of it."""

    __slots__ = ("_chunks", "_intake", "_limit", "_second", "left")

    def __init__(self, head: Head, second: SecondReader, intake: Intake, limit: int) -> None:
        self._second = second
        self._intake = intake
        self._limit = limit
        self._chunks = ChunkScanner() if head.body == CHUNKED else None
        self.left = limit if head.body == CHUNKED else head.body  # bytes that may still come

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What was not consumed, and whether the body has ended. Raises ``Refused``.

        With a rest before the end the feed had enough for one turn of the event loop: feed the rest again later.
        """
        rest, done = self._counted(data) if self._chunks is None else self._chunked(data, self._chunks)
        self._second.expect(done)
        return rest, done

    def skippable(self, limit: int) -> bool:
        """Whether at most ``limit`` bytes are known to come, so that waiting for them is cheap."""
        return self._chunks is None and self.left <= limit

    def _counted(self, data: bytes) -> tuple[bytes, bool]:
        mine = data[: self.left]
        self._second.feed(mine)
        self.left -= len(mine)
        self._intake.put(mine)
        return data[len(mine) :], self.left == 0

    def _chunked(self, data: bytes, chunks: ChunkScanner) -> tuple[bytes, bool]:
        pieces, rest, done = chunks.feed(data, _CHUNKS_A_TURN)
        body = b"".join(pieces)
        self.left -= len(body)
        if self.left < 0:
            raise Refused("body_too_large", f"a body may have at most {self._limit} bytes")
        self._second.feed(data[: len(data) - len(rest)] if rest else data)
        if body:
            self._intake.put(body)
        return rest, done
