"""aiohttp under the administrators' door: bounded connections, bounded waits, and no answer but the door's own.

aiohttp bounds neither how long a request's head may take nor how many connections there are, and it answers what it
cannot parse in a form of its own; the three are mended here.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from sidecar.errors import Misconfigured
from sidecar.listeners.listening import cannot_listen

CONNECTIONS: Final = 256  # open at once, on each place the door listens
HEAD_SECONDS: Final = 10.0  # until a new connection's first request is there
IDLE_SECONDS: Final = 15.0  # between two requests of a connection
LINGER_SECONDS: Final = 1.0  # for the rest of a body that nobody reads
CLOSE_SECONDS: Final = 2.0  # for answers on their way when the door closes

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Unparsed = Callable[[web.BaseRequest, int], web.Response]


class _Protocol(web.RequestHandler):
    """One connection. What aiohttp cannot read, or fails at itself, is answered by ``unparsed``."""

    __slots__ = ("unparsed",)
    unparsed: Unparsed

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, *_: object, **__: object
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was on its way already")
        response = self.unparsed(request, status)
        response.force_close()
        return response


class _Server(web.Server):
    """Makes the connections of one place, up to a number; one more is closed at once."""

    def __init__(self, handler: Handler, unparsed: Unparsed) -> None:
        self._begun: set[Any] = set()  # connections whose first request has come

        async def begun(request: web.BaseRequest) -> web.StreamResponse:
            self._begun.add(request.protocol)
            return await handler(request)

        super().__init__(
            begun,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            tcp_keepalive=False,
        )
        self._unparsed = unparsed

    def __call__(self) -> web.RequestHandler:
        loop = asyncio.get_running_loop()
        made = _Protocol(self, loop=loop, **self._kwargs)
        made.unparsed = self._unparsed
        loop.call_later(HEAD_SECONDS, self._look, made)
        return made

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > CONNECTIONS:
            transport.abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._begun.discard(handler)

    def _look(self, made: _Protocol) -> None:
        if made.transport is not None and made not in self._begun:
            made.transport.abort()


class AdminServer:
    """The places the door listens on. ``close`` may be called whatever was opened."""

    def __init__(self) -> None:
        self._open: list[tuple[asyncio.AbstractServer, _Server]] = []

    async def listen(
        self, host: str, port: int, tls: ssl.SSLContext | None, handler: Handler, unparsed: Unparsed
    ) -> int:
        """Listen on TCP; the port, also where 0 was asked for. Raises ``Misconfigured``."""
        server = _Server(handler, unparsed)
        try:
            seconds = None if tls is None else HEAD_SECONDS
            listening = await asyncio.get_running_loop().create_server(
                server, host, port, ssl=tls, ssl_handshake_timeout=seconds
            )
        except OSError as error:
            raise cannot_listen("doors.admin", host, port, error) from None
        self._open.append((listening, server))
        bound: int = listening.sockets[0].getsockname()[1]
        return bound

    async def listen_unix(self, socket: Path, handler: Handler, unparsed: Unparsed) -> None:
        """Listen on a Unix socket of mode 0600, replacing a stale one. Raises ``Misconfigured``."""
        _clear(socket)
        server = _Server(handler, unparsed)
        before = os.umask(0o177)  # the socket must never exist with a wider mode, not for a moment
        try:
            listening = await asyncio.get_running_loop().create_unix_server(server, str(socket))
        except OSError as error:
            raise Misconfigured(f"the admin socket {socket} cannot be opened: {error.strerror}") from None
        finally:
            os.umask(before)
        self._open.append((listening, server))

    async def close(self) -> None:
        """Stop listening, and end what is open."""
        for listening, server in self._open:
            listening.close()
            server.pre_shutdown()
            await server.shutdown(CLOSE_SECONDS)
        self._open.clear()


def _clear(socket: Path) -> None:
    """Remove what an earlier process left; never a file that somebody named by mistake."""
    if socket.exists() and not socket.is_socket():
        raise Misconfigured(f"{socket} is not a socket; the admin socket would replace it")
    socket.unlink(missing_ok=True)


def code_of(status: int) -> str:
    """Our code for a status that aiohttp gives what it cannot read."""
    if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return "headers_too_large"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "body_too_large"
    return "internal_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "malformed"
