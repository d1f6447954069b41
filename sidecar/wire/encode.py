"""Replies as bytes. Framing is written here and nowhere else, so a handler can neither split nor frame a message."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from json import dumps
from typing import Final

from sidecar.errors import CODES
from sidecar.wire import fields
from sidecar.wire.message import Reply

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CLOSE: Final = b"connection: close\r\n"

_STATUS: Final = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_OURS: Final = frozenset(
    (b"connection", b"content-length", b"date", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


class BadReplyError(Exception):
    """The handler's reply cannot be sent: it would be split, or has no meaning. Nothing of it was written."""


def field_lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Header or trailer lines. Raises ``BadReplyError`` for CR, LF, NUL or a name that is no token (H21)."""
    lines = [b"%b: %b\r\n" % pair for pair in headers if pair[0].lower() not in _OURS]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or not fields.acceptable(block):
        raise BadReplyError("a header line of the reply is not acceptable")
    return block


def message(
    status: int, headers: Sequence[tuple[bytes, bytes]], framing: bytes, date: bytes, body: bytes = b""
) -> bytes:
    """A head, and a body that is at hand. ``framing`` and ``date`` are finished lines. Raises ``BadReplyError``."""
    if not 200 <= status <= 599:
        raise BadReplyError("the status of a reply is 200 to 599")
    line = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"".join((line, field_lines(headers), date, framing, b"\r\n", body))


def bodiless(status: int) -> bool:
    """Whether replies with ``status`` never have a body, nor say how long it would be (RFC 9110 section 8.6)."""
    return status in (204, 304)


def date_line(now: float) -> bytes:
    """The ``date`` line for ``now``, in seconds since the epoch."""
    return f"date: {formatdate(now, usegmt=True)}\r\n".encode()


def bare_problem(code: str, detail: str) -> Reply:
    """A problem document (RFC 9457) with no evidence, for when nobody is left to write a better one."""
    status, title = CODES[code]
    document = {
        "type": "about:blank", "title": title, "status": status, "detail": detail, "code": code,
        "evidence_id": None, "policy_revision": None, "reasons": [],
    }  # fmt: skip
    return Reply(status, ((b"content-type", b"application/problem+json"),), dumps(document).encode())
