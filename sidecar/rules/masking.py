"""Mask values of a JSON document at given places (an obligation of the policy).

A place is a JSON Pointer (RFC 6901) in which the token ``*`` stands for any member or element. What a place does
not find is no error: policy names what must not be seen, not what must be there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

MASKED: Final = "[MASKED]"
ANY: Final = "*"
_NUMBER: Final = re.compile(r"\A(?:0|[1-9][0-9]{0,17})\Z")
_POINTER: Final = re.compile(r"\A(?:/(?:[^~/]|~[01])*)*\Z", re.DOTALL)


def is_pointer(text: str) -> bool:
    """Whether ``text`` is a JSON Pointer: empty, or beginning with a slash, with ``~`` only in ``~0`` and ``~1``."""
    return _POINTER.match(text) is not None


def mask(document: Any, pointers: Sequence[str]) -> Any:
    """``document`` with every value at ``pointers`` replaced, changed in place where it can be; use what is returned.

    Raises ``ValueError`` for a pointer that is not one.
    """
    for pointer in pointers:
        document = _mask(document, tokens(pointer))
    return document


def tokens(pointer: str) -> list[str]:
    """The names a pointer goes by. Raises ``ValueError`` for a text that is none."""
    if not is_pointer(pointer):
        raise ValueError(f"{pointer!r} is not a JSON Pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _mask(value: Any, tokens: list[str]) -> Any:
    if not tokens:
        return MASKED
    name, rest = tokens[0], tokens[1:]
    if isinstance(value, dict):
        for member in value if name == ANY else [name] if name in value else []:
            value[member] = _mask(value[member], rest)
    elif isinstance(value, list):
        for at in range(len(value)) if name == ANY else _place(name, len(value)):
            value[at] = _mask(value[at], rest)
    return value


def _place(name: str, length: int) -> range:
    """The element that ``name`` is the number of, written in the one way there is; none where it is not."""
    if _NUMBER.match(name) is None or int(name) >= length:
        return range(0)
    return range(int(name), int(name) + 1)
