"""Our own strict reading of a raw request head, the first of two readers (the second is llhttp).

Accepted is what RFC 9112 calls a request in origin-form (or absolute-form ``http`` whose authority is the Host), in
exactly one spelling, so that nobody behind or before us can read another message from the same bytes. Narrower than
the RFC on purpose:

* HTTP/1.0 and 1.1 only, GET HEAD POST PUT PATCH DELETE OPTIONS only, one space between the parts of the first line,
  no line before it. No CONNECT, no ``*``.
* Exactly one Host, also with HTTP/1.0: a name, an IPv4 or a bracketed IPv6 literal, with a port of 1 to 65535 if any.
* Content-Length once, 1 to 15 digits; or Transfer-Encoding once, exactly ``chunked`` in lower
  case, with HTTP/1.1, without the other.
* Path: no empty or dot segment, no ``;`` or backslash; percent-encoding of printable ASCII only, and never of
  ``. / % ; \\``. No route of ours needs any of these, and policy and router must see one path.
* Query: RFC 3986 characters; no encoded control characters. No fragment.
* No underscore in a field name (CGI-like readers take ``X_Y`` for ``X-Y``), no obs-fold, no control characters.
* Authorization and Content-Type at most once: two would be two callers, or two readings of one body.
* HTTP/1.0 connections end with the answer, whatever they ask for.
* ``Expect`` only with ``100-continue``. ``Upgrade`` only to ``h2c``, which is ignored as RFC 9110 section 7.8 allows
  and dropped from the headers; the connection then ends with the answer, so no byte is ever read as another protocol.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from sidecar.errors import Refused
from sidecar.wire import fields

METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
CHUNKED: Final = -1

_PORT: Final = rb"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_AUTHORITY: Final = rb"(?:[A-Za-z0-9._\-]++|\[[0-9A-Fa-f:.]++\])(?::" + _PORT + rb")?+"
_PATH_CHARACTER: Final = (
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?![01]|2[5EeFf]|3[Bb]|5[Cc]|7[Ff]|[89A-Fa-f])[0-9A-Fa-f]{2})"
)
_PATH: Final = rb"(?=/)(?:/(?!\.\.?[/? ])" + _PATH_CHARACTER + rb"++)*+/?+"
_QUERY: Final = rb"(?:\?(?:[A-Za-z0-9\-._~!$&'()*+,=:@/?;]|%(?![01]|7[Ff])[0-9A-Fa-f]{2})*+)?+"

_LINE: Final = rb"[!#$%&'*+\-.^`|~0-9A-Za-z]++:" + fields.VALUE + rb"*+\r\n"

_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (?:http://(" + _AUTHORITY + rb"))?+(" + _PATH + _QUERY + rb")"
    rb" HTTP/1\.([01])\r\n((?:" + _LINE + rb")*+)\r\n"
)
_HOST: Final = re.compile(_AUTHORITY)
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_UPGRADE: Final = re.compile(rb"(?<=\n)(?:upgrade|http2-settings):[^\r\n]*\r\n", re.IGNORECASE)

# What no head may hold, whatever follows: control characters, an LF without its CR, a CR without its LF.
_NEVER: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_FIRST_LINE: Final = re.compile(b"(" + fields.TOKEN + rb"++) ([^ ]++) HTTP/(\d\.\d)")

_ONCE: Final = frozenset(
    (b"authorization", b"content-length", b"content-type", b"expect", b"host", b"transfer-encoding")
)
_NOT_OURS: Final = frozenset((b"upgrade", b"http2-settings"))


class Head(NamedTuple):
    """An accepted head. ``body`` is its length in bytes or ``CHUNKED``; ``raw_*`` are for the second reader."""

    method: str
    target: str
    headers: fields.Fields
    body: int
    keep_alive: bool
    http_1_0: bool
    expects_continue: bool
    raw: bytes
    raw_target: bytes
    raw_headers: fields.Fields


def hopeless(buffer: bytes | bytearray, start: int, end: int) -> bool:
    """Whether ``buffer[start:end]``, part of an incomplete head, already holds what no head may hold."""
    return _NEVER.search(buffer, start, end) is not None


def read_head(raw: bytes, header_limit: int) -> Head:
    """Judge ``raw``: everything up to and including the empty line. Pure: same bytes, same verdict.

    Raises ``Refused``: ``malformed``, ``method_not_allowed``, ``unsupported_version`` or ``headers_too_large``.
    """
    found = _HEAD.fullmatch(raw)
    if found is None:
        _explain(raw)
    method, authority, target, minor, _ = found.groups()
    raw_headers = fields.raw_pairs(raw, found.start(5))
    if len(raw_headers) > header_limit:
        raise Refused("headers_too_large", f"a request may have at most {header_limit} header lines")
    headers = [(name.lower(), value.rstrip(b" \t")) for name, value in raw_headers]
    by_name = dict(headers)
    if len(by_name) != len(headers):
        _refuse_repeated(headers)
    _check_host(by_name.get(b"host"), authority)
    http_1_0 = minor == b"0"
    body = _framing(by_name, http_1_0)
    keep_alive = not http_1_0 and (b"connection" not in by_name or _keep_alive(headers))
    expect = by_name.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise Refused("malformed", "Expect may only be 100-continue")
    raw_target = b"http://" + authority + target if authority else target
    head = Head(
        METHODS[method], target.decode("ascii"), headers, body, keep_alive, http_1_0,
        expect is not None and not http_1_0, raw, raw_target, raw_headers,
    )  # fmt: skip
    return _without_upgrade(head) if b"upgrade" in by_name else head


def _refuse_repeated(headers: fields.Fields) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            raise Refused("malformed", f"the header {name.decode()} may occur only once")
        seen.add(name)


def _check_host(host: bytes | None, authority: bytes | None) -> None:
    if host is None:
        raise Refused("malformed", "the request has no Host header")
    if _HOST.fullmatch(host) is None:
        raise Refused("malformed", "the Host header is not a host and port")
    if authority is not None and authority.lower() != host.lower():
        raise Refused("malformed", "the target and the Host header name different hosts")


def _framing(by_name: dict[bytes, bytes], http_1_0: bool) -> int:
    length = by_name.get(b"content-length")
    coding = by_name.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise Refused("malformed", "Content-Length and Transfer-Encoding may not occur together")
        if coding != b"chunked":
            raise Refused("malformed", "Transfer-Encoding may only be chunked")
        if http_1_0:
            raise Refused("malformed", "HTTP/1.0 has no Transfer-Encoding")
        return CHUNKED
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise Refused("malformed", "Content-Length is not a number of at most 15 digits")
    return int(length)


def _keep_alive(headers: fields.Fields) -> bool:
    options = b",".join([value for name, value in headers if name == b"connection"]).lower()
    return b"close" not in options or b"close" not in [option.strip(b" \t") for option in options.split(b",")]


def _without_upgrade(head: Head) -> Head:
    if any(name == b"upgrade" and value.lower() != b"h2c" for name, value in head.headers):
        raise Refused("malformed", "this door upgrades to no other protocol")
    return head._replace(
        headers=[pair for pair in head.headers if pair[0] not in _NOT_OURS],
        keep_alive=False,
        raw=_UPGRADE.sub(b"", head.raw),
        raw_headers=[pair for pair in head.raw_headers if pair[0].lower() not in _NOT_OURS],
    )


def _explain(raw: bytes) -> NoReturn:
    """Say why ``raw`` is not a head. The order is fixed, so that the verdict does not hang on how bytes arrive."""
    if hopeless(raw, 0, len(raw)):
        raise Refused("malformed", "the request head holds a control character or a bare line end")
    line = raw[: raw.index(b"\r\n")]
    first = _FIRST_LINE.fullmatch(line)
    if first is None:
        raise Refused("malformed", "the first line is not a method, a target and a version")
    method, target, version = first.groups()
    if version not in (b"1.0", b"1.1"):
        raise Refused("unsupported_version", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if method not in METHODS:
        raise Refused("method_not_allowed", "only GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS are taken here")
    if _HEAD.fullmatch(method + b" " + target + b" HTTP/1.1\r\n\r\n") is None:
        raise Refused("malformed", "the target is not a plain path, with or without a query")
    raise Refused("malformed", "a header line is not acceptable (a name holds no space and no underscore)")
