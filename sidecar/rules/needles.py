"""What a secret looks like once it is echoed, as byte strings to search for, and the two ways of searching.

Base64 (RFC 4648 section 4) packs three bytes into four characters, so a secret within a longer text is written in
one of three ways, by where it stands; the characters at its ends share their bits with its neighbours.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterator
from typing import Final

_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


def texts(plain: bytes) -> list[bytes]:
    """The secret, and what becomes of it where its bytes are read as Latin-1 and written as UTF-8 (WSGI does)."""
    return [plain] if plain.isascii() else [plain, plain.decode("latin-1").encode()]


def cores(plain: bytes) -> Iterator[bytes]:
    """The characters of base64 that the secret alone determines, at each alignment and in both alphabets."""
    for before in range(3):
        encoded = b2a_base64(b"\0" * before + plain, newline=False)
        core = encoded[-(-8 * before // 6) : 8 * (before + len(plain)) // 6]
        yield core
        if b"+" in core or b"/" in core:
            yield core.translate(_URLSAFE)


def places(text: bytes, needle: bytes) -> Iterator[int]:
    """Every place of the needle, overlapping ones too."""
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def beginning(text: bytes, needle: bytes) -> int | None:
    """The first place from which on the text is a beginning of the needle, but not all of it."""
    first = needle[:1]
    at = text.find(first, max(0, len(text) - len(needle) + 1))
    while at >= 0:
        if needle.startswith(text[at:]):
            return at
        at = text.find(first, at + 1)
    return None
