"""What the upstreams do with a secret once they have it: the path says what, the Host field whose it is.

Each behaviour writes the caller's own canary in every form into its answer, so that whatever the sidecar passes on,
logs or records of an answer would show it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import brotli
import zstandard

from tests.e2e.far import Behaviour, Seen
from tests.fakes.upstream import Conversation
from tests.leaks.furniture import DOMAIN, LOGIN, MUTUAL, OAUTH
from tests.leaks.scanner import Canary, forms

Pack = Callable[[bytes], bytes]
CODINGS: Final[dict[str, Pack]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
# what a call may ask for, by path; each is done once with every connector
PLAIN: Final = (
    *("echo", "fail", "refuse", "head", "names", "typed", "early", "trailers", "broken", "cut", "reset"),
    *(*CODINGS, "bomb", "unread"),
)
STREAMED: Final = ("events", "events-cut", "events-gzip")


def behaviour(used: Mapping[str, Canary]) -> Behaviour:
    """An upstream that knows the canary of each of its callers."""

    async def behave(conversation: Conversation, seen: Seen) -> bool:
        what = seen.target.partition("?")[0].strip("/")
        caller = seen.headers.get("host", "").partition(f".{DOMAIN}")[0]
        canary = used.get(caller) if caller != MUTUAL else None  # a handshake proves the key and does not show it
        known = b"\n".join(forms(canary.value).values()) if canary else seen.body
        await conversation.send(_token(used[OAUTH], known) if caller == LOGIN else _answer(what, seen, known))
        if what == "reset":
            conversation.reset()
        return what not in ("broken", "cut", "reset", "events-cut")

    return behave


def _token(token: Canary, known: bytes) -> bytes:
    """A token endpoint that talks too much."""
    document = {"access_token": token.value.decode(), "token_type": "bearer", "expires_in": 600}
    return _message(json.dumps(document | {"heard": known.decode("latin-1")}).encode(), "200 OK", "application/json")


def _answer(what: str, seen: Seen, known: bytes) -> bytes:
    text, line = (known, "200 OK", "text/plain"), _line(known)
    heard = json.dumps({"target": seen.target, "headers": seen.headers, "body": seen.body.decode()}).encode()
    made = {
        "fail": lambda: _message(known, "500 oh no", "text/plain"),
        "refuse": lambda: _message(known, "401 No", "text/plain", b'WWW-Authenticate: Bearer realm="' + line),
        "head": lambda: _message(b"{}", "200 OK", "application/json", b"ETag: " + line, b"Location: /" + line),
        "names": lambda: _message(b"{}", "200 OK", "application/json", *_names(known)),
        "typed": lambda: _message(b"{}", "200 " + line.decode("latin-1"), line.decode("latin-1")),
        "early": lambda: b"HTTP/1.1 103 Early Hints\r\nLink: " + line + b"\r\n\r\n" + _message(*text),
        "trailers": lambda: _trailed(known, line),
        "broken": lambda: b"HTTP/1.1 200 " + line + b"\r\nno field at all " + line + b"\r\n\r\n",
        "cut": lambda: _message(*text)[:-5],
        "reset": lambda: b"HTTP/1.1 200 OK\r\nX: " + line,
        "bomb": lambda: _message(gzip.compress(known + b"\0" * (32 << 20)), *text[1:], b"Content-Encoding: gzip"),
        "unread": lambda: _message(*text, b"Content-Encoding: compress"),
        "events": lambda: _chunked(known),
        "events-cut": lambda: _chunked(known)[:-30],
        "events-gzip": lambda: _chunked(gzip.compress(known), b"Content-Encoding: gzip\r\n"),
    }
    if what in CODINGS:
        return _message(CODINGS[what](known), *text[1:], f"Content-Encoding: {what}".encode())
    if what in made:
        return made[what]()
    return _message(heard + b"\n" + known, "200 OK", "text/plain")


def _names(known: bytes) -> list[bytes]:
    """Fields that would pass, and a cookie, with the secret in their names."""
    names = [re.sub(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]", b"", form) for form in known.split(b"\n")]
    return [
        before + name[:300] + after
        for name in names
        if name
        for before, after in ((b"X-RateLimit-", b": 1"), (b"RateLimit-", b": 1"), (b"Set-Cookie: ", b"=1"))
    ]


def _trailed(known: bytes, line: bytes) -> bytes:
    """A chunked answer with the secret in a chunk's extension and after the last one."""
    extension = b';x="' + re.sub(rb"[^0-9A-Za-z-]", b"", line)[:200] + b'"'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTrailer: X-Heard\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x%s\r\n%s\r\n0\r\nX-Heard: %s\r\n\r\n" % (len(known), extension, known, line)


def _line(known: bytes) -> bytes:
    """What of it fits a header field."""
    return known.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")[:8000]


def _message(body: bytes, status: str, kind: str, *fields: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), f"Content-Type: {kind}".encode(), b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *fields]) + b"\r\n\r\n" + body


def _chunked(body: bytes, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + more + b"Transfer-Encoding: chunked\r\n\r\n"
    pieces = [body[at : at + 11] for at in range(0, len(body), 11)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
