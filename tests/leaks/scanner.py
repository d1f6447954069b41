"""Looks for secrets in bytes, in every form in which one could have got there. It knows nothing of the product.

The forms are made with the standard library alone, so that a mistake in the product's own scrubber is not made here
as well.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")
_OCTET: Final = re.compile("%[0-9A-F]{2}")
_LINE: Final = 40  # characters of a secret with lines that are looked for by themselves


class Canary(NamedTuple):
    """A secret that must be nowhere but at its upstream. ``kind`` says what it is, for the report."""

    kind: str
    value: bytes


class Hit(NamedTuple):
    """A canary that was found: where, whose, and in which form. Never the value."""

    place: str
    kind: str
    form: str


def texts(value: bytes) -> Iterator[bytes]:
    """What of a secret gives it away: all of it; a password without its user; of a PEM each line of its key."""
    if b"PRIVATE KEY" not in value:
        yield value
        if value.count(b":") == 1:
            yield value.partition(b":")[2]
        return
    body = value.partition(b"PRIVATE KEY-----")[2].partition(b"-----END")[0]
    yield from (line for line in body.split() if len(line) >= _LINE)


def forms(text: bytes) -> dict[str, bytes]:
    """The text in each form, by name."""
    plain = text.decode("latin-1")
    made = {
        "plain": text,
        "percent": quote(text, safe="").encode(),
        "percent, lower case": _OCTET.sub(lambda octet: octet[0].lower(), quote(text, safe="")).encode(),
        "form": quote_plus(text).encode(),
        "percent, every byte": "".join(f"%{byte:02X}" for byte in text).encode(),
        "json": json.dumps(plain)[1:-1].encode(),
        "json in json": json.dumps(json.dumps(plain)[1:-1])[1:-1].encode(),
        "json, slashes": json.dumps(plain)[1:-1].replace("/", "\\/").encode(),
        "json, every byte": "".join(f"\\u{byte:04x}" for byte in text).encode(),
        "python": repr(text)[2:-1].encode(),
        "html": html.escape(plain).encode(),
        "hex": text.hex().encode(),
        "hex, upper case": text.hex().upper().encode(),
        "utf-16": plain.encode("utf-16-le"),
    }
    for at in range(3):
        whole = base64.b64encode(b"\0" * at + text)
        core = whole[-(-8 * at // 6) : 8 * (at + len(text)) // 6]  # what the text alone determines
        made[f"base64, {at}"] = core
        made[f"base64url, {at}"] = core.translate(_URLSAFE)
    return made


def needles(canaries: Iterable[Canary]) -> list[tuple[str, str, bytes]]:
    """Kind, form and bytes of everything that is looked for, each once."""
    found: dict[bytes, tuple[str, str, bytes]] = {}
    for canary in canaries:
        for text in texts(canary.value):
            for form, needle in forms(text).items():
                found.setdefault(needle, (canary.kind, form, needle))
    return list(found.values())


def scan(places: Mapping[str, bytes], canaries: Iterable[Canary]) -> list[Hit]:
    """Every canary in every place, once for each form."""
    looked_for = needles(canaries)
    return [
        Hit(place, kind, form)
        for place, data in places.items()
        for kind, form, needle in looked_for
        if needle in data
    ]
