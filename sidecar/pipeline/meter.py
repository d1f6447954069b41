"""Counts what of a stream has gone out, and says when the next durable chunk record is due.

A chunk record lets the next second, or the next MiB, pass at once; it carries the count and the hash of everything
before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.model.evidence import Result

WINDOW_BYTES: Final = 1 << 20
WINDOW_SECONDS: Final = 1.0


def windows(piece: bytes) -> Iterator[bytes]:
    """``piece`` in parts that fit one window."""
    for at in range(0, len(piece), WINDOW_BYTES):
        yield piece[at : at + WINDOW_BYTES]


class Meter:
    """``now`` is monotonic seconds."""

    def __init__(self, status: int, now: float) -> None:
        self._status = status
        self._hash = hashlib.sha256()
        self._count = 0
        self._allowance = WINDOW_BYTES
        self._until = now + WINDOW_SECONDS

    def due(self, size: int, now: float) -> bool:
        """Whether a new record must be durable before ``size`` more bytes may pass."""
        return size > self._allowance or now >= self._until

    def renew(self, now: float) -> None:
        """A record is durable: open the next window."""
        self._allowance = WINDOW_BYTES
        self._until = now + WINDOW_SECONDS

    def passed(self, chunk: bytes) -> None:
        """``chunk`` goes out."""
        self._hash.update(chunk)
        self._count += len(chunk)
        self._allowance -= len(chunk)

    def result(self, digest: Callable[[bytes], str]) -> Result:
        """Status, count and hash so far: ``digest`` (HMAC) of the SHA-256 of the bytes, which may be few to guess."""
        return Result(status=self._status, bytes=self._count, hash=digest(self._hash.digest()))
