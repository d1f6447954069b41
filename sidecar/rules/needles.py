"""What a secret looks like once it is echoed, as byte strings to search for, and the two ways of searching.

Base64 (RFC 4648 section 4) packs three bytes into four characters, so a secret within a longer text is written in
one of three ways, by where it stands; the characters at its ends share their bits with its neighbours.
"""

from __future__ import annotations

import binascii
import re
from binascii import b2a_base64
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.model.secret import SHORTEST

LONG: Final = 24  # bytes; a shorter word of a document is of no use by itself, and may be any word

_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")
_WRITTEN: Final = ("latin-1", "cp1252", "utf-16-le", "utf-16-be")
_URL_PASSWORD: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:]*:([^\s@]+)@")
_NAMED_PASSWORD: Final = re.compile(
    rb"(?:password|passwd|pwd|key|secret|token|signature)[ \t]*=[ \t]*[\"']?([^;&\s\"']+)", re.IGNORECASE
)
_STRUCTURE: Final = re.compile(rb"[\r\n{\[]|\\n")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9._-]*")
_VALUE: Final = re.compile(rb"=[ \t]*\"?([^\s\",;]+)")
_TELLING: Final = 8  # bytes; a shorter value beside others is any word
_BETWEEN_WORDS: Final = re.compile(rb"[\s\"',:={}\[\]]+|\\[nr]")


def texts(plain: bytes) -> list[bytes]:
    """What the secret's bytes are where they are not written in base64 or hex.

    A secret with characters beyond ASCII is also searched for as it looks where its bytes were read as Latin-1 and
    written as UTF-8 (WSGI does), and where its characters were written in Latin-1, Windows-1252 or, their NULs taken
    away, UTF-16. One with quotation marks: where these are doubled (RFC 4180 section 2, and SQL).
    """
    if plain.isascii() and b'"' not in plain and b"'" not in plain:
        return [plain]
    made = [plain, *(plain.replace(mark, mark * 2) for mark in (b'"', b"'") if mark in plain)]
    if not plain.isascii():
        made.append(plain.decode("latin-1").encode())
        for charset in _WRITTEN:
            with suppress(UnicodeError):  # no text, or not of this charset
                made.append(plain.decode().encode(charset).replace(b"\0", b""))
    return [plain, *(text for text in dict.fromkeys(made) if text != plain and len(text) >= SHORTEST)]


def passwords(plain: bytes) -> list[bytes]:
    """The passwords alone of a secret that is a URL with one, or a connection string: as written, and as meant."""
    if b"=" not in plain and b"://" not in plain:  # as most are: this is done for each call
        return []
    found = _URL_PASSWORD.findall(plain)
    if b"=" in plain and (b";" in plain or b" " in plain or b"&" in plain):
        found += _NAMED_PASSWORD.findall(plain)
    both = {*found, *map(unquote_to_bytes, found)}
    return sorted(password for password in both if len(password) >= SHORTEST)


def taken_from(field: bytes, value: bytes) -> list[bytes]:
    """What an upstream takes out of a whole header value, which may then be echoed alone; ``field`` is lower-case.

    The token of a scheme, its parameters' values (RFC 9110 section 11.4), of Basic the pair and the password, and
    each value of a cookie (RFC 6265 section 4.2.1).
    """
    if field == b"cookie":
        return [found for found in _VALUE.findall(value) if len(found) >= _TELLING]
    scheme, _, rest = value.strip().partition(b" ")
    rest = rest.strip()
    if _SCHEME.fullmatch(scheme) is None or not rest:
        return []
    if scheme.lower() == b"basic":
        with suppress(binascii.Error):
            pair = binascii.a2b_base64(rest, strict_mode=True)
            return [part for part in (rest, pair, pair.partition(b":")[2]) if len(part.strip()) >= SHORTEST]
    return [part for part in (rest, *_VALUE.findall(rest)) if len(part) >= _TELLING]


def words(plain: bytes) -> list[bytes]:
    """The long words of a secret that has several lines, or is a document: a PEM key, or a JSON file with one in it.

    An upstream that takes it apart may echo a part, and break its lines in another way.
    """
    if _STRUCTURE.search(plain) is None:
        return []
    return [word for word in _BETWEEN_WORDS.split(plain) if len(word) >= LONG and not word.startswith(b"-----")]


def cores(plain: bytes) -> Iterator[bytes]:
    """The characters of base64 that the secret alone determines, at each alignment and in both alphabets."""
    for before in range(3):
        encoded = b2a_base64(b"\0" * before + plain, newline=False)
        core = encoded[-(-8 * before // 6) : 8 * (before + len(plain)) // 6]
        yield core
        if b"+" in core or b"/" in core:
            yield core.translate(_URLSAFE)


def places(text: bytes, needle: bytes) -> Iterator[int]:
    """Places of the needle that cover all that it covers anywhere: of those that overlap one, only the last.

    A text may be nothing but overlapping needles, and each costs a comparison with all of the needle.
    """
    size = len(needle)
    at = text.find(needle)
    while at >= 0:
        yield at
        further = text.rfind(needle, at + 1, at + 2 * size - 1)
        at = further if further >= 0 else text.find(needle, at + size)


def beginning(text: bytes, needle: bytes) -> int | None:
    """The first place from which on the text is a beginning of the needle, but not all of it."""
    first = needle[:1]
    at = text.find(first, max(0, len(text) - len(needle) + 1))
    while at >= 0:
        if needle.startswith(text[at:]):
            return at
        at = text.find(first, at + 1)
    return None
