"""The least a proxy on uvloop and llhttp can do: read a message, write it again. Nothing is checked, asked or kept.

It is the floor under every figure here: what a governed call costs above it is what governing costs. Not a server for
anything else: it knows keep-alive, Content-Length and answers in order, which is all that these clients use.
Run as ``python -m benchmarks.bare_proxy PORT UPSTREAM_PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools
import uvloop


class Side(asyncio.Protocol):
    """One connection: gathers a message as its parser reports it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such

    def on_message_begin(self) -> None:
        self._lines, self._body = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append(name + b": " + value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def written(self, first_line: bytes) -> bytes:
        """The message in one piece."""
        return b"\r\n".join([first_line, *self._lines, b"", b"".join(self._body)])


class Upper(Side):
    """A connection to the upstream. It belongs to one client at a time, and to the pool between."""

    def __init__(self, pool: list[Upper]) -> None:
        super().__init__()
        self.client: Lower | None = None
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        client, self.client = self.client, None
        self._pool.append(self)
        if client is not None and not client.transport.is_closing():
            client.transport.write(self.written(b"HTTP/1.1 %d OK" % self._parser.get_status_code()))


class Lower(Side):
    """A client's connection."""

    def __init__(self, pool: list[Upper], upstream: int) -> None:
        super().__init__()
        self._pool = pool
        self._upstream = upstream
        self._target = b""
        self._parser = httptools.HttpRequestParser(self)
        self._opening: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target = url

    def on_message_complete(self) -> None:
        message = self.written(self._parser.get_method() + b" " + self._target + b" HTTP/1.1")
        if self._pool:
            self._send(self._pool.pop(), message)
        else:
            self._opening = asyncio.create_task(self._open(message))

    async def _open(self, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, upper = await loop.create_connection(lambda: Upper(self._pool), "127.0.0.1", self._upstream)
        self._send(upper, message)

    def _send(self, upper: Upper, message: bytes) -> None:
        upper.client = self
        upper.transport.write(message)


async def serve(port: int, upstream: int) -> None:
    """Proxy until the process is ended."""
    pool: list[Upper] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: Lower(pool, upstream), "127.0.0.1", port, backlog=512
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
