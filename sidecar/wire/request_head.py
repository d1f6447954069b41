"""Writes the head of a request to an upstream (RFC 9112 section 3).

What frames or routes the message is written here and nowhere else: the host, the length, the coding. A template that
brings such a field itself, or a value that would break out of its line (A87), is refused before anything is dialled.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.errors import Refused
from sidecar.wire import fields

OWN: Final = frozenset(
    (
        b"connection", b"content-length", b"expect", b"host", b"http2-settings", b"keep-alive",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip

_EMPTY_WITHOUT_LENGTH: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
_NEVER: Final = frozenset(("CONNECT", "TRACE"))  # CONNECT changes the framing; TRACE sends credentials back (A88)
_LINE: Final = re.compile(r"[A-Z]{1,32} /[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*+")


def write_head(method: str, path: str, host: bytes, headers: fields.Fields, length: int | None) -> bytes:
    """The bytes of a head. ``length`` is the body's in bytes, None for a chunked body; names are lower-case.

    Raises ``Refused("malformed")`` without quoting any value: one of them may be a secret.
    """
    request = f"{method} {path}"
    if _LINE.fullmatch(request) is None or method in _NEVER:
        raise Refused("malformed", "the operation's method or path cannot be written as HTTP/1.1")
    block = b"".join([b"%b: %b\r\n" % header for header in headers])
    names = [name for name, _ in headers]
    # as many lines as headers: no value has brought a line of its own
    if not fields.acceptable(block) or block.count(b"\n") != len(names) or not all(map(bytes.islower, names)):
        raise Refused("malformed", "a header of the request cannot be written as HTTP/1.1")
    if not OWN.isdisjoint(names):
        raise Refused("malformed", "a header of the request would change its framing or its destination")
    if length is None:
        framing = b"transfer-encoding: chunked\r\n\r\n"
    elif length or method not in _EMPTY_WITHOUT_LENGTH:
        framing = b"content-length: %d\r\n\r\n" % length
    else:
        framing = b"\r\n"
    return b"%b HTTP/1.1\r\nhost: %b\r\n%b%b" % (request.encode(), host, block, framing)
