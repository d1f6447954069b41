"""Readings of a text: what it says once its escapes are taken away, and where each byte of that came from.

Five kinds of escape, each a fixed pattern that no secret ever enters (``re`` keeps compiled patterns in a cache):
percent-encoding (RFC 3986 section 2.1), backslash escapes (RFC 8259 section 7, and ``\\xHH`` of other languages),
character references (HTML Living Standard section 13.5), the NULs of ASCII text in UTF-16 and UTF-32, and the white
space that wraps base64 lines (RFC 2045 section 6.8).

What an escape is depends on the text from its own first byte on and on nothing before it. A stream may therefore be
cut between any two escapes and read on from there as if it had never been cut. (A run of NULs or white space may be
cut anywhere: how long it is matters only to what begins before it, and that is still held.)
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Final, NamedTuple

_HEX: Final = "0123456789abcdefABCDEF"
_SHORT: Final = {b"\\b": b"\b", b"\\f": b"\f", b"\\n": b"\n", b"\\r": b"\r", b"\\t": b"\t"}
_WIDEST: Final = 3  # NULs beside an ASCII character in UTF-32; more are padding, and nothing reads on over padding
_LONGEST_FOLD: Final = 128  # bytes of white space: a line's end and a deep indentation
_COMMON: Final = ((b'\\"', b'"'), (b"\\n", b"\n"), (b"\\/", b"/"), (b"\\t", b"\t"), (b"\\r", b"\r"))
_OCTETS: Final = {(a + b).encode(): bytes([int(a + b, 16)]) for a in _HEX for b in _HEX}
_PERCENT: Final = {b"%" + octet: plain for octet, plain in _OCTETS.items()}
_BACKSLASH: Final = (
    _SHORT
    | {b"\\x" + octet: plain for octet, plain in _OCTETS.items()}
    | {b"\\u00" + octet: plain.decode("latin-1").encode() for octet, plain in _OCTETS.items()}
)


def _percent(token: bytes) -> bytes:
    return _PERCENT.get(token, token)


def _backslash(token: bytes) -> bytes:
    plain = _BACKSLASH.get(token)
    if plain is not None:
        return plain
    if len(token) == 2:
        return token[1:]
    if len(token) not in (6, 12):
        return token
    try:
        units = b"".join(int(token[at + 2 : at + 6], 16).to_bytes(2, "big") for at in range(0, len(token), 6))
    except ValueError:
        return token
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _reference(token: bytes) -> bytes:
    return html.unescape(token.decode("ascii")).encode("utf-8", "surrogatepass") if token.endswith(b";") else token


def _wide(token: bytes) -> bytes:
    return b"" if len(token) <= _WIDEST else b"\0"


def _fold(token: bytes) -> bytes:
    return b"" if len(token) <= _LONGEST_FOLD else b" "


class Escape(NamedTuple):
    """One kind of escape. ``split`` has one group, the escape; one that the text's end cuts off matches too."""

    marker: bytes
    split: re.Pattern[bytes]
    decode: Callable[[bytes], bytes]
    partial: re.Pattern[bytes]  # the whole of an escape that was cut off


_CUT_PERCENT: Final = rb"%[0-9A-Fa-f]?"
_HIGH: Final = rb"\\u[dD][89abAB][0-9A-Fa-f]{2}"  # the first half of a surrogate pair (RFC 8259 section 7)
_CUT_LOW: Final = rb"\\(?:u(?:[dD](?:[c-fC-F][0-9A-Fa-f]?)?)?)?"
_CUT_BACKSLASH: Final = rb"(?:" + _HIGH + rb"(?:" + _CUT_LOW + rb")?|\\(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?)"
_CUT_REFERENCE: Final = rb"&(?:#[0-9]{0,7}|#[xX][0-9A-Fa-f]{0,6}|[A-Za-z][A-Za-z0-9]{0,30})?"

PERCENT: Final = Escape(
    b"%", re.compile(rb"(%[0-9A-Fa-f]{2}|" + _CUT_PERCENT + rb"\Z)"), _percent, re.compile(_CUT_PERCENT)
)
BACKSLASH: Final = Escape(
    b"\\",
    re.compile(
        rb"("
        + _HIGH
        + rb"\\u[dD][c-fC-F][0-9A-Fa-f]{2}|"
        + _CUT_BACKSLASH
        + rb"\Z|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[bfnrt!-/:-@\[-`{-~])"
    ),
    _backslash,
    re.compile(_CUT_BACKSLASH),
)
REFERENCE: Final = Escape(
    b"&",
    re.compile(rb"(&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});|" + _CUT_REFERENCE + rb"\Z)"),
    _reference,
    re.compile(_CUT_REFERENCE),
)
WIDE: Final = Escape(b"\0", re.compile(rb"(\0+)"), _wide, re.compile(rb"(?!)"))
FOLD: Final = Escape(b"", re.compile(rb"([ \t\r\n]+)"), _fold, re.compile(rb"(?!)"))

FOLDING: Final = b" \t\r\n"  # the bytes that FOLD takes away


def decoded(text: bytes, escape: Escape) -> bytes | None:
    """The text with every escape of one kind replaced by what it stands for; None where it has none."""
    if escape is BACKSLASH and text.count(b"\\") == sum(text.count(short) for short, _ in _COMMON):
        return _replaced(text)
    parts = escape.split.split(text)
    if len(parts) == 1:
        return None
    parts[1::2] = map(escape.decode, parts[1::2])
    return b"".join(parts)


def _replaced(text: bytes) -> bytes | None:
    """The same where every backslash begins a common escape, as in most JSON: a tenth of the work."""
    if b"\\" not in text:
        return None
    for short, plain in _COMMON:
        text = text.replace(short, plain)
    return text


class Reading:
    """One reading of a text, with the way back from its bytes to those of the first text.

    ``cut`` is where, in the first text, an escape begins that the text's end cut off; None where there is none.
    With ``final`` such an escape is text like any other.
    """

    __slots__ = ("_decoded", "_from", "_parent", "_source", "_to", "cut", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.cut: int | None = None
        self._parent: Reading | None = None
        self._source: list[bytes] = []  # the parent's text: what stands between escapes, and every other an escape
        self._decoded: list[bytes] = []  # the same parts in this text
        self._from: list[int] = []
        self._to: list[int] = []

    def taken(self, escape: Escape, *, final: bool) -> Reading | None:
        """This reading with one more kind of escape taken away; None where it has none."""
        parts = escape.split.split(self.text)
        if len(parts) == 1:
            return None
        cut = not final and not parts[-1] and escape.partial.fullmatch(parts[-2]) is not None
        if cut:
            parts[-2:] = []
        decoded_parts = parts.copy()
        decoded_parts[1::2] = map(escape.decode, parts[1::2])
        reading = Reading(b"".join(decoded_parts))
        reading._parent, reading._source, reading._decoded = self, parts, decoded_parts
        if cut:
            reading.cut = self.start(sum(map(len, parts)))
        return reading

    def _measure(self) -> None:
        """Where each part begins, in either text; most readings are never asked."""
        if not self._from:
            self._from = [0, *accumulate(map(len, self._source))]
            self._to = [0, *accumulate(map(len, self._decoded))]

    def start(self, at: int) -> int:
        """Where, in the first text, the byte at ``at`` (or the escape that stands for it) begins."""
        if self._parent is None:
            return at
        self._measure()
        part = min(bisect_right(self._to, at) - 1, len(self._from) - 1)
        inside = 0 if part % 2 else at - self._to[part]
        return self._parent.start(self._from[part] + inside)

    def end(self, at: int) -> int:
        """Where, in the first text, the byte before ``at`` (or the escape that stands for it) ends."""
        if self._parent is None:
            return at
        self._measure()
        part = bisect_right(self._to, at - 1) - 1
        return self._parent.end(self._from[part + 1] if part % 2 else self._from[part] + at - self._to[part])

    def between(self, at: int) -> int:
        """The first text's offset ``at``, moved back where it lies inside an escape of this reading.

        ``at`` must lie between the escapes of the readings this one was made from.
        """
        return self._locate(at)[0]

    def _locate(self, at: int) -> tuple[int, int]:
        """``at`` moved between the escapes, and the same place in this reading's text."""
        if self._parent is None:
            return at, at
        self._measure()
        moved, source = self._parent._locate(at)
        part = min(bisect_right(self._from, source) - 1, len(self._from) - 1)
        if part % 2:
            begin = self._from[part]
            return (self._parent.start(begin) if source > begin else moved), self._to[part]
        return moved, self._to[part] + source - self._from[part]
