"""Answers of an upstream, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from sidecar.model.exchange import Inbound

JSON_TYPE = (b"content-type", b"application/json")


def answered(
    body: bytes | AsyncIterator[bytes] = b'{"ok":true}',
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (JSON_TYPE,),
) -> Inbound:
    """An answer as the caller hands it over."""
    return Inbound(status, list(headers), body, "93.184.216.34")


class Pieces:
    """A streamed body: gives its pieces, raises what is among them, and knows whether it was closed."""

    def __init__(self, *pieces: bytes | BaseException | Callable[[], bytes]) -> None:
        self._pieces = list(pieces)
        self.closed = False

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        return piece if isinstance(piece, bytes) else piece()

    async def aclose(self) -> None:
        self.closed = True
