"""The chunked transfer coding (RFC 9112 section 7.1), read strictly, for requests and for responses.

Narrower than the RFC: at most 15 hexadecimal digits (a size can never overflow anybody's 64 bits), no blanks around
the size or in extensions, extensions and trailers bounded over the whole message, trailer fields that would change
framing, routing or authentication refused (RFC 9110 section 6.5.1). How the bytes are cut never changes the verdict.
Extensions are checked and dropped; trailers are kept apart and never merged into the head.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sidecar.errors import Refused
from sidecar.wire import fields

_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*+"'
_EXTENSION: Final = b";" + fields.TOKEN + b"++(?:=(?:" + fields.TOKEN + b"++|" + _QUOTED + b"))?+"
_FIRST: Final = re.compile(b"([0-9A-Fa-f]{1,15})((?:" + _EXTENSION + rb")*+)\r\n")
# After a chunk's bytes comes their line end, then the next size: one match for both.
_NEXT: Final = re.compile(rb"\r\n" + _FIRST.pattern)

_NEVER_TRAILERS: Final = frozenset(
    (
        b"authorization", b"connection", b"content-encoding", b"content-length", b"content-range", b"content-type",
        b"cookie", b"expect", b"host", b"proxy-authorization", b"set-cookie", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip

UNBOUNDED: Final = 1 << 62


class Scan(NamedTuple):
    """What one feed brought: body bytes, what was not consumed, and whether the message has ended.

    After the end ``rest`` belongs to the next message. Before it ``rest`` is empty, unless the feed stopped at its
    bound of chunks: then feed ``rest`` again once the event loop had its turn. ``rest`` is always the last
    ``len(rest)`` bytes of what was fed.
    """

    pieces: list[bytes]
    rest: bytes
    done: bool


class ChunkScanner:
    """Reads one chunked body. Feeds raise ``Refused``: ``malformed``, or ``headers_too_large`` for the trailers."""

    __slots__ = ("_extensions", "_held", "_last", "_left", "_line", "_line_bytes", "_trailer_bytes", "trailers")

    def __init__(self, *, line_bytes: int = 1024, extension_bytes: int = 4096, trailer_bytes: int = 8192) -> None:
        """Bound one size line, all extensions together and all trailers together, each in bytes."""
        self.trailers: fields.Fields = []
        self._line_bytes = line_bytes
        self._extensions = extension_bytes
        self._trailer_bytes = trailer_bytes
        self._held = b""  # a line whose end has not come yet
        self._left = 0  # bytes of the current chunk still to come
        self._line = _FIRST
        self._last = False  # the last chunk's line was read: trailers follow

    def feed(self, data: bytes, chunks: int = UNBOUNDED) -> Scan:
        """Read ``data``, but at most ``chunks`` (>= 1) size lines of it; a line costs about a microsecond."""
        buffer = self._held + data if self._held else data
        self._held = b""
        pieces: list[bytes] = []
        position, end = 0, len(buffer)
        while not self._last:
            if self._left:
                stop = min(position + self._left, end)
                if stop > position:
                    pieces.append(buffer[position:stop])
                self._left -= stop - position
                position = stop
            if position == end:
                return Scan(pieces, b"", False)
            if chunks <= 0:
                return Scan(pieces, buffer[position:], False)
            chunks -= 1
            found = self._line.match(buffer, position)
            if found is None or found.end() - position > self._line_bytes:
                self._hold_line(buffer, position)
                return Scan(pieces, b"", False)
            self._take_size(found)
            position = found.end()
        return self._read_trailers(buffer, position, pieces)

    def _take_size(self, found: re.Match[bytes]) -> None:
        size, extensions = found.groups()
        if extensions:
            self._extensions -= len(extensions)
            if self._extensions < 0:
                raise Refused("malformed", "the chunk extensions are too long")
        self._left = int(size, 16)
        self._last = self._left == 0
        self._line = _NEXT

    def _hold_line(self, buffer: bytes, position: int) -> None:
        start = position
        if self._line is _NEXT:
            if not b"\r\n".startswith(buffer[position : position + 2]):
                raise Refused("malformed", "a chunk is longer or shorter than its size says")
            start += 2
        if buffer.find(b"\n", start) >= 0 or len(buffer) - position > self._line_bytes:
            raise Refused("malformed", "a chunk's size line is not acceptable")
        self._held = buffer[position:]

    def _read_trailers(self, buffer: bytes, position: int, pieces: list[bytes]) -> Scan:
        while True:
            line_end = buffer.find(b"\n", position) + 1
            if (line_end or len(buffer)) - position > self._trailer_bytes:
                raise Refused("headers_too_large", "the trailers are too large")
            if not line_end:
                self._held = buffer[position:]
                return Scan(pieces, b"", False)
            line = buffer[position:line_end]
            self._trailer_bytes -= len(line)
            position = line_end
            if line == b"\r\n":
                return Scan(pieces, buffer[position:], True)
            if not fields.acceptable(line):
                raise Refused("malformed", "a trailer line is not acceptable")
            self.trailers += fields.pairs(line)
            if self.trailers[-1][0] in _NEVER_TRAILERS:
                raise Refused("malformed", "a trailer may not carry this field")
