"""The strict reading of an upstream's response head (RFC 9112 sections 2 to 6).

llhttp lets through what a careful reader must refuse: odd versions and status codes, NUL in a reason, a
``Transfer-Encoding`` that merely ends in ``chunked``. This gate reads the raw bytes itself and says how the body is
framed; llhttp reads the same bytes as a second opinion (``sidecar.wire.reader``).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sidecar.wire import fields

HEADERS_MAX: Final = 256
UNTIL_CLOSE: Final = -1
CHUNKED: Final = -2

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n")
_FIELDS: Final = re.compile(b"(?:" + fields.LINE + rb")*+\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[\t ]*([0-9]{1,18})[\t ]*\r\n")
_CODING: Final = re.compile(rb"\r\ntransfer-encoding:[\t ]*chunked[\t ]*\r\n")
_CONNECTION: Final = re.compile(rb"\r\nconnection:([^\r]*)")
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")


class BadAnswer(Exception):
    """The upstream's bytes are not an acceptable HTTP/1.1 response. The text names the rule, never the bytes."""


class Head(NamedTuple):
    """A checked response head.

    ``length`` is the number of body bytes, ``CHUNKED`` or ``UNTIL_CLOSE``; 0 where a response to this request can
    have no body (RFC 9112 section 6.3). Header names are lower-case; values keep their inner spaces.
    """

    status: int
    headers: fields.Fields
    length: int
    keep_alive: bool


def read_head(raw: bytes, *, to_head: bool = False, headers_max: int = HEADERS_MAX) -> Head:
    """Read one whole head: ``raw`` runs from the status line to the empty line, both included.

    ``to_head`` says that the request was a HEAD. Raises ``BadAnswer``.
    """
    status_line = _STATUS_LINE.match(raw)
    if status_line is None:
        raise BadAnswer("the status line is not HTTP/1.1")
    start = status_line.end()
    if _FIELDS.fullmatch(raw, start) is None:
        raise BadAnswer("a header field is malformed")
    headers = fields.pairs(raw, start)
    if len(headers) > headers_max:
        raise BadAnswer("there are too many header fields")
    status = int(status_line[2])
    lowered = raw[start - 2 :].lower()
    modern = status_line[1] == b"1"
    length = _body_length(lowered, status, to_head=to_head, modern=modern)
    return Head(status, headers, length, _keeps_alive(lowered, modern=modern) and length != UNTIL_CLOSE)


def is_hopeless(partial: bytes | bytearray, start: int) -> bool:
    """Whether a head that is still incomplete can be refused now; bytes before ``start`` were looked at before."""
    return not b"HTTP/1.".startswith(partial[:7]) or _BARE.search(partial, start) is not None


def _body_length(lowered: bytes, status: int, *, to_head: bool, modern: bool) -> int:
    """Every line of ``lowered`` follows a CRLF, so that finding ``CRLF name:`` is finding the field."""
    lengths = lowered.count(b"\r\ncontent-length:")
    bodiless = status < 200 or status in (204, 304)
    if b"\r\ntransfer-encoding:" in lowered:
        if lengths:
            raise BadAnswer("Content-Length and Transfer-Encoding are both given")
        if bodiless or not modern:
            raise BadAnswer("Transfer-Encoding does not belong in this response")
        if lowered.count(b"\r\ntransfer-encoding:") > 1 or _CODING.search(lowered) is None:
            raise BadAnswer("the Transfer-Encoding is not exactly chunked")
        return 0 if to_head else CHUNKED
    if not lengths:
        return 0 if bodiless or to_head else UNTIL_CLOSE
    length = _LENGTH.search(lowered)
    if lengths > 1 or length is None:
        raise BadAnswer("the Content-Length is not one plain number")
    if bodiless and status != 304 and int(length[1]):
        raise BadAnswer("a response that has no body announces one")
    return 0 if bodiless or to_head else int(length[1])


def _keeps_alive(lowered: bytes, *, modern: bool) -> bool:
    """RFC 9112 section 9.3: persistent unless closed, in HTTP/1.0 only if it says so."""
    if b"\r\nconnection:" not in lowered:
        return modern
    tokens = {token.strip() for value in _CONNECTION.findall(lowered) for token in value.split(b",")}
    return b"close" not in tokens and (modern or b"keep-alive" in tokens)
