"""Content codings taken off a body (RFC 9110 section 8.4), piece by piece and within a bound.

Known: ``gzip`` (RFC 1952, members in a row), ``deflate`` (RFC 1950, and the bare RFC 1951 that many servers mean by
it), ``br`` (RFC 7932) and ``zstd`` (RFC 8878, windows of at most 8 MiB as RFC 9659 wants), at most two in each other.

A kilobyte may stand for a gigabyte, so nothing is ever decoded in one go: a piece that comes out has at most some
megabytes whatever went in, and what comes out in all is counted against the bound. Bytes after the end of the coded
data, and data that is cut off, are refused: two readers would see different bodies.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

import brotli
import zstandard

MOST: Final = 2  # codings in each other
STEP: Final = 1 << 16  # bytes asked of a decoder at once
_ZSTD_SLICE: Final = 64  # bytes; the densest of them stand for 2 MiB, as zstandard takes no bound of its own
_ZSTD_WINDOW: Final = 8 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS
_BROKEN: Final = "the coded data is broken"

Header = tuple[bytes, bytes]


class Undecodable(Exception):
    """The body cannot be decoded; the text is one sentence without its bytes. ``too_large``: only for its size."""

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        super().__init__(detail)
        self.too_large = too_large


class _Coding(Protocol):
    @property
    def finished(self) -> bool:
        """Whether what has come so far is whole."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` stands for."""


class _Zlib:
    """``deflate``, or ``gzip`` where ``members`` may follow each other."""

    def __init__(self, window: int | None) -> None:
        self._window = window
        self._members = window == _GZIP
        self._start = b""  # until it is known which deflate it is
        self._decoder: zlib._Decompress | None = None if window is None else zlib.decompressobj(window)

    @property
    def finished(self) -> bool:
        return self._decoder is not None and self._decoder.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            data = self._start + data
            if len(data) < 2:
                self._start = data
                return
            # RFC 1950 section 2.2: the first two bytes say so, and are a multiple of 31
            wrapped = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
            self._window = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
            self._decoder = zlib.decompressobj(self._window)
        while data:
            if self._decoder.eof:
                self._next_member()
            piece = self._decoder.decompress(data, STEP)
            if piece:
                yield piece
            data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        while not self._decoder.eof and (piece := self._decoder.decompress(b"", STEP)):  # what it still holds
            yield piece

    def _next_member(self) -> None:
        if not self._members:
            raise Undecodable("something follows the coded data")
        assert self._window is not None
        self._decoder = zlib.decompressobj(self._window)


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    @property
    def finished(self) -> bool:
        return bool(self._decoder.is_finished())

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            if data and self._decoder.is_finished():
                raise Undecodable("something follows the coded data")
            piece: bytes = self._decoder.process(data, output_buffer_limit=STEP)
            data = b""
            if piece:
                yield piece
            elif self._decoder.can_accept_more_data() or self._decoder.is_finished():
                return


class _Zstandard:
    def __init__(self) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    @property
    def finished(self) -> bool:
        return self._decoder.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_SLICE):
            if self._decoder.eof:
                raise Undecodable("something follows the coded data")
            piece = self._decoder.decompress(data[at : at + _ZSTD_SLICE])
            if piece:
                yield piece
            if self._decoder.unused_data:
                raise Undecodable("something follows the coded data")


def codings(headers: Iterable[Header]) -> tuple[str, ...]:
    """The codings of a message with these headers (lower-case names), in the order to take them off.

    Raises ``Undecodable`` for one that is not known, and for more than ``MOST``.
    """
    named = [
        coding.strip().lower()
        for name, value in headers
        if name == b"content-encoding"
        for coding in value.split(b",")
    ]
    found = [coding.decode("latin-1") for coding in named if coding not in (b"", b"identity")]
    if len(found) > MOST or not all(coding in KNOWN for coding in found):
        raise Undecodable(f"its content coding is none of {', '.join(KNOWN)}, at most {MOST} in each other")
    return tuple(reversed(found))


def _made(coding: str) -> _Coding:
    match coding:
        case "gzip" | "x-gzip":
            return _Zlib(_GZIP)
        case "deflate":
            return _Zlib(None)
        case "br":
            return _Brotli()
        case _:
            return _Zstandard()


KNOWN: Final = ("gzip", "x-gzip", "deflate", "br", "zstd")


class Decoder:
    """Takes ``found`` (see ``codings``) off a body of at most ``limit`` bytes once decoded."""

    __slots__ = ("_any", "_codings", "_left", "_limit")

    def __init__(self, found: Sequence[str], limit: int) -> None:
        self._codings = [_made(coding) for coding in found]
        self._limit = limit
        self._left = limit
        self._any = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` stands for, in pieces of bounded size. Raises ``Undecodable``."""
        if not data:
            return
        self._any = True
        try:
            for piece in self._through(0, data):
                self._left -= len(piece)
                if self._left < 0:
                    raise Undecodable(f"it has more than {self._limit} bytes once decoded", too_large=True)
                yield piece
        except (zlib.error, brotli.error, zstandard.ZstdError):
            raise Undecodable(_BROKEN) from None

    def finish(self) -> None:
        """The body has ended. Raises ``Undecodable`` where it was cut off; a body of no bytes is whole."""
        if self._any and not all(coding.finished for coding in self._codings):
            raise Undecodable("the coded data is cut off")

    def _through(self, level: int, data: bytes) -> Iterator[bytes]:
        if level == len(self._codings):
            yield data
            return
        for piece in self._codings[level].pieces(data):
            yield from self._through(level + 1, piece)


def decoded(body: bytes, headers: Iterable[Header], limit: int) -> bytes:
    """A whole body without its codings. Raises ``Undecodable``."""
    decoder = Decoder(codings(headers), limit)
    whole = b"".join(decoder.pieces(body))
    decoder.finish()
    return whole
