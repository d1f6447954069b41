"""The grammar of field lines (RFC 9110 section 5, RFC 9112 section 5), shared by heads, trailers and both directions.

Stricter than the RFC where a second reader could read another thing: no folding, no space around the name, no bare
CR or LF, no control characters but the tab.
"""

from __future__ import annotations

import re
from typing import Final

Fields = list[tuple[bytes, bytes]]

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"
LINE: Final = TOKEN + rb"++:" + VALUE + rb"*+\r\n"

_LINES: Final = re.compile(b"(?:" + LINE + b")*+")
_PAIRS: Final = re.compile(b"(" + TOKEN + rb"++):[\t ]*+(" + VALUE + rb"*+)\r\n")


def acceptable(block: bytes) -> bool:
    """Whether ``block`` is nothing but whole field lines, each ended by CRLF."""
    return _LINES.fullmatch(block) is not None


def raw_pairs(block: bytes, start: int = 0) -> Fields:
    """The lines of an acceptable block from ``start`` on, as llhttp reports them: blanks may end a value."""
    return _PAIRS.findall(block, start)


def pairs(block: bytes, start: int = 0) -> Fields:
    """The lines of an acceptable block from ``start`` on, in order: lower-cased name, value without outer blanks."""
    return [(name.lower(), value.rstrip(b" \t")) for name, value in _PAIRS.findall(block, start)]
