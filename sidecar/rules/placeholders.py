"""Placeholders: what an agent's unmodified SDK holds in place of a provider's key, and where one may stand.

A placeholder looks like the provider's own keys, so that an SDK that checks a key's form is content. It belongs to
one credential and one principal, and is made of them under a key of the sidecar's own: nothing is stored, nobody can
guess one, and it is worth nothing anywhere but in its principal's requests through this sidecar. It opens nothing
by itself either: whoever sends it still needs the policy's permit.

Every placeholder, of whatever sidecar, holds one fixed ``MARKER``. So a request can be searched, in all the forms
that ``sidecar.rules.scrub`` knows, for placeholders that nobody here could list: another principal's, another
tenant's. A request may hold exactly one, as the whole value of the one position its credential is bound to, at the
one host it is bound to. Anything else is refused and alarms: at another host (A89) or place (A90), twice (A91),
compressed (A93), encoded (A94) or foreign (A105).

What is put in its place is put there by ``pipeline.inject``, over the whole position, after the request was
searched: a secret that looks like a placeholder is not expanded again (A95), and one placeholder that begins like
another is never taken for it, because whole values are compared (A96).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import count
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import orjson

from sidecar.errors import Reason, Refused
from sidecar.model.secret import Secret
from sidecar.rules.decoding import Undecodable, decoded
from sidecar.rules.masking import tokens
from sidecar.rules.scrub import Scrubber

MARKER: Final = b"pLcHoLdR"
SHORTEST_TAG: Final = 12  # characters after the marker: 71 bits
BODY_LIMIT: Final = 1 << 20  # bytes of a compressed request body, once decoded

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTEXT: Final = b"policy-sidecar placeholder 1"
_MARKED: Final = Scrubber((Secret(MARKER),))
_AUTHORIZATION: Final = b"authorization"

# Characters of a provider's whole key, by its prefix; a shape that is not here is given its length by who mints.
LENGTHS: Final = {
    "sk-": 51,
    "sk-proj-": 164,
    "sk-ant-api03-": 108,
    "ghp_": 40,
    "github_pat_": 93,
    "glpat-": 26,
    "hf_": 37,
    "sk_live_": 32,
    "sk_test_": 32,
    "xoxb-": 57,
    "AIza": 39,
}

Header = tuple[bytes, bytes]


class Slot(NamedTuple):
    """One of a principal's placeholders, and the only place where it stands for its credential."""

    placeholder: bytes
    credential: str
    hosts: tuple[str, ...]  # host:port, canonical
    position: str  # bearer | basic | header | query | body
    name: str = ""  # the header (lower-case) or query field; for the body its JSON Pointer


class Request(NamedTuple):
    """An agent's request as it came in. ``host`` is the host:port that would be dialled, not what a header says."""

    scheme: str
    method: str
    host: str
    target: bytes
    headers: Sequence[Header]  # lower-case names
    body: bytes = b""


def mint(key: Secret, tenant: str, credential: str, principal: str, prefix: str, length: int | None = None) -> str:
    """The placeholder of a credential for a principal: the same each time, and another for any other of the three.

    It begins with ``prefix`` and has the length of the provider's keys (or ``length``), though at least what makes it
    unguessable. Raises ``ValueError`` for a prefix that would need escaping somewhere.
    """
    if not prefix.isascii() or not prefix.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a prefix has letters, digits, dashes and underscores")
    wanted = (length if length is not None else LENGTHS.get(prefix, 0)) - len(prefix) - len(MARKER)
    parts = [_CONTEXT, *(part.encode() for part in (tenant, credential, principal, prefix))]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return prefix + MARKER.decode() + _tag(key.reveal(), message, max(wanted, SHORTEST_TAG))


def _tag(key: bytes, message: bytes, length: int) -> str:
    """Characters of HMAC-SHA256 in counter mode; a byte that does not divide evenly is skipped."""
    made: list[str] = []
    for at in count():
        for byte in hmac.digest(key, at.to_bytes(4, "big") + message, sha256):
            if byte < 4 * len(_ALPHABET):
                made.append(_ALPHABET[byte % len(_ALPHABET)])
        if len(made) >= length:
            return "".join(made[:length])
    raise AssertionError  # count() does not end


def find(request: Request, own: Sequence[Slot], *, require: bool = False) -> Slot | None:
    """The slot whose placeholder the request holds where it may; None where it holds none at all.

    ``own`` are the caller's placeholders, bound here or elsewhere. With ``require`` a request to a host that one is
    bound to must hold it: a real key in its place is refused (A99), and so is none. Raises
    ``Refused("credential_misused")``, with a reason, for a placeholder anywhere else and in any other form.
    """
    places = _places(request)
    bound = [slot for slot in own if request.host in slot.hosts]
    held = [slot for slot in bound if _value(request, slot) == slot.placeholder]
    if len(held) == 1 and places == 1 and request.method != "CONNECT":
        if request.scheme != "https":
            raise _refused("placeholder_plain_http", "a credential never travels over plain http")
        return held[0]
    if places:
        raise _refused(*_why(request, own, bound, places))
    if require and bound and request.method != "CONNECT":  # a tunnel's own head carries no credential (A100)
        raise _refused("placeholder_required", "the place of its placeholder holds something else, or nothing")
    return None


def _refused(code: str, message: str) -> Refused:
    detail = f"A placeholder is replaced only at the destination and position it is bound to: {message}."
    return Refused("credential_misused", detail, [Reason(code, message)])


def _why(request: Request, own: Sequence[Slot], bound: Sequence[Slot], places: int) -> tuple[str, str]:
    text = b"\n".join(_texts(request))
    mine = [slot for slot in own if slot.placeholder in text]
    if not mine:
        if MARKER in text:
            return "placeholder_foreign", "this one is not the caller's, or not of this sidecar"
        return "placeholder_encoded", "this one is encoded or compressed"
    if not any(slot in bound for slot in mine):
        return "placeholder_elsewhere", "this one is for another host"
    if places > 1:
        return "placeholder_doubled", "the request holds more than one"
    return "placeholder_misplaced", "this one stands at another place of the request"


def _texts(request: Request) -> Iterator[bytes]:
    """Every part of the request that an upstream reads, as it would read it."""
    yield request.target
    for name, value in request.headers:
        yield name
        yield value
    yield request.body


def _places(request: Request) -> int:
    """How many placeholders there are, of anybody's and in any form."""
    found = sum(_MARKED.scrub_body(text)[1] for text in _texts(request))
    lower = MARKER.lower()
    found += sum(lower in name.lower() and MARKER not in name for name, _ in request.headers)
    if request.body and any(name == b"content-encoding" for name, _ in request.headers):
        try:
            found += _MARKED.scrub_body(decoded(request.body, request.headers, BODY_LIMIT))[1]
        except Undecodable as error:
            raise _refused("placeholder_hidden", f"the body cannot be searched for one: {error}") from None
    return found


def _value(request: Request, slot: Slot) -> bytes | None:
    """What stands at a slot's position; None where nothing does, or more than one thing."""
    match slot.position:
        case "bearer" | "basic":
            return _authorization(request.headers, slot.position)
        case "header":
            return _only([value for name, value in request.headers if name == slot.name.encode()])
        case "query":
            pairs = [pair.partition(b"=") for pair in request.target.partition(b"?")[2].split(b"&")]
            return _only([value for name, _, value in pairs if _field(name) == slot.name.encode()])
        case "body":
            return _member(request.body, slot.name)
        case _:
            return None


def _field(name: bytes) -> bytes:
    """A query field's name as an upstream reads it: ``%6bey`` is ``key`` (WHATWG URL standard, section 5.1)."""
    return unquote_to_bytes(name.replace(b"+", b" "))


def _only(values: list[bytes]) -> bytes | None:
    return values[0] if len(values) == 1 else None


def _authorization(headers: Sequence[Header], scheme: str) -> bytes | None:
    """The token, or the password of the pair, where the one field has this scheme (RFC 9110 section 11.1)."""
    value = _only([value for name, value in headers if name == _AUTHORIZATION])
    named, _, rest = (value or b"").partition(b" ")
    if named.lower() != scheme.encode():
        return None
    if scheme == "bearer":
        return rest
    try:
        return base64.b64decode(rest, validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def _member(body: bytes, pointer: str) -> bytes | None:
    try:
        value: Any = orjson.loads(body)
        for name in tokens(pointer):
            value = value[name]
    except (ValueError, KeyError, TypeError):
        return None
    return value.encode() if isinstance(value, str) else None


class Watch:
    """For a body that arrives in pieces: a placeholder in it, cut anywhere (A92), ends it before it is whole."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = _MARKED.stream()

    def feed(self, piece: bytes) -> bytes:
        """What may go out now. Raises ``Refused("credential_misused")``."""
        return self._checked(self._stream.feed(piece))

    def finish(self) -> bytes:
        """The rest, once the body has ended."""
        return self._checked(self._stream.finish())

    def _checked(self, text: bytes) -> bytes:
        if self._stream.count:
            raise _refused("placeholder_misplaced", "this one is in a body that is passed on as it arrives")
        return text
