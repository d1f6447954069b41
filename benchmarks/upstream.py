"""The upstream of every subject, a process of its own: a small answer to each request, counted by first path segment.

``python -m benchmarks.upstream READY [--certificate PEM --key PEM] [--ids FILE] [--tokens FILE]`` writes its port
into READY. ``GET /counts`` gives the counts; it is not counted itself. With ``--ids`` every idempotency key is kept
as a line. With ``--tokens`` a request without a bearer token that stands in that file at the moment is answered 401,
and counts for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
from collections import Counter
from pathlib import Path
from typing import IO, Final, cast

import uvloop

_BODY: Final = b'{"answer":"found","items":[{"id":1,"title":"On rust belts"}]}'
ID_HEADER: Final = "idempotency-key"


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


_REPLY: Final = _reply(_BODY)
_REFUSAL: Final = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def field(head: bytes, name: bytes) -> bytes | None:
    """The value of the header ``name`` (lower case) in a head, or None."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    return head[start + len(name) + 3 :].split(b"\r\n", 1)[0].strip()


class Upstream:
    """What all connections count into."""

    def __init__(self, ids: IO[bytes] | None, tokens: Path | None) -> None:
        self.counts: Counter[str] = Counter()
        self._ids = ids
        self._tokens = tokens
        self._read_at = 0  # when the file of tokens was changed last, as far as it was read
        self._accepted: frozenset[bytes] = frozenset()

    def answer(self, head: bytes) -> bytes:
        """The reply to one request."""
        target = head.split(b" ", 2)[1].decode("latin-1")
        if target == "/counts":
            if self._ids is not None:
                self._ids.flush()
            return _reply(json.dumps(self.counts).encode())
        if self._tokens is not None and not self._accepts(field(head, b"authorization") or b"", self._tokens):
            return _REFUSAL
        self.counts[target.split("/", 2)[1]] += 1
        if self._ids is not None:
            self._ids.write((field(head, ID_HEADER.encode()) or b"?") + b"\n")
        return _REPLY

    def _accepts(self, shown: bytes, tokens: Path) -> bool:
        changed = tokens.stat().st_mtime_ns
        if changed != self._read_at:
            self._accepted, self._read_at = frozenset(tokens.read_bytes().split()), changed
        return shown.removeprefix(b"Bearer ") in self._accepted


class Connection(asyncio.Protocol):
    """Keep-alive, Content-Length framing: all that these clients use."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        pending, at = self._pending + data, 0
        while (end := pending.find(b"\r\n\r\n", at)) >= 0:
            head = pending[at : end + 2]
            done = end + 4 + int(field(head, b"content-length") or 0)
            if len(pending) < done:
                break
            self._transport.write(self._upstream.answer(head))
            at = done
        self._pending = pending[at:]


async def serve(ready: Path, tls: ssl.SSLContext | None, upstream: Upstream) -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", 0, ssl=tls, backlog=512)
    fresh = ready.with_suffix(".new")
    fresh.write_text(str(server.sockets[0].getsockname()[1]))
    fresh.replace(ready)  # whoever waits for the file must not read half a number
    await server.serve_forever()


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ready", type=Path)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--ids", type=Path)
    parser.add_argument("--tokens", type=Path)
    options = parser.parse_args()
    tls = None
    if options.certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate, options.key)
    ids = options.ids.open("wb") if options.ids is not None else None
    uvloop.run(serve(options.ready, tls, Upstream(ids, options.tokens)))


if __name__ == "__main__":
    main()
