"""The HTTP/1.1 server of the agent-facing doors."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sidecar.errors import Refused
from sidecar.wire import encode
from sidecar.wire.incoming import Incoming
from sidecar.wire.message import Reply, Request
from sidecar.wire.serving import Connection

Handler = Callable[[Request], Awaitable[Reply]]
OnMalformed = Callable[[Refused, str], Awaitable[Reply]]

_SWEEP_SECONDS: Final = 0.5
_DRAIN_GRACE_SECONDS: Final = 0.05
_SHED_LINGERING: Final = 256  # connections over the cap that may stay to read their 503; the next are cut at once
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerLimits:
    """Bounds of one server. Times are kept to half a second, or to a quarter of the shortest of them."""

    connections: int = 4096
    head_bytes: int = 1 << 14
    headers: int = 100
    body_bytes: int = 1 << 20
    head_seconds: float = 10.0  # from a head's first byte to its last
    body_seconds: float = 30.0  # for a body; every 256 KiB of it start them anew
    idle_seconds: float = 75.0  # between requests, and before the first
    write_seconds: float = 30.0  # for a peer that does not read what we write
    ahead_bytes: int = 1 << 16  # pipelined bytes kept while a request is being answered

    @property
    def sweep_seconds(self) -> float:
        """How often the times are looked at."""
        return min(
            _SWEEP_SECONDS, min(self.head_seconds, self.body_seconds, self.idle_seconds, self.write_seconds) / 4
        )


class Server:
    """Accepts connections and answers their requests with ``handler``.

    ``on_malformed`` is told every message that is no acceptable HTTP, with the peer (``ip:port``), and gives the
    reply that is sent before the connection is closed. The handler may raise ``Refused`` (``Request.read`` does):
    ``on_malformed`` answers that too. Anything else it raises is a bare 500, and the connection closes. A handler is
    never cancelled because its peer went away: what it does must reach its record.
    """

    def __init__(self, handler: Handler, on_malformed: OnMalformed, limits: ServerLimits | None = None) -> None:
        self.handler = handler
        self.on_malformed = on_malformed
        self.limits = limits or ServerLimits()
        self.in_flight = 0  # requests being answered
        self.connections = 0  # open connections that were admitted
        self.connections_shed = 0  # ever, because there were too many
        self.draining = False
        self.now = 0.0  # the loop's clock at the last sweep
        self.date = b""
        self._open: set[Incoming] = set()
        self._listening: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on ``host`` (an address) and ``port`` (0: any free one). Returns the bound port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._tick(loop.time())
        self._listening = await loop.create_server(self._accepted, host, port, backlog=1024)
        self._sweep()
        sockets: Sequence[socket.socket] = cast("Any", self._listening).sockets  # uvloop's is a list
        bound: int = sockets[0].getsockname()[1]
        return bound

    def _accepted(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", Connection(self))  # by its methods, not by inheritance

    def swap_limits(self, limits: ServerLimits) -> None:
        """Connections made from now on get ``limits``; open ones keep theirs."""
        self.limits = limits

    async def drain(self, seconds: float) -> bool:
        """Stop accepting, answer what was asked, close. False if something was cut after ``seconds``."""
        self.draining = True
        if self._listening is not None:
            self._listening.close()
        # What a busy peer has sent already deserves its answer, and with it the word that the connection closes.
        await self._emptied(min(_DRAIN_GRACE_SECONDS, seconds))
        for connection in tuple(self._open):
            if connection.idle:
                connection.close()
        clean = await self._emptied(seconds)
        if not clean:
            for connection in tuple(self._open):
                connection.abort()
                if connection.task is not None:
                    connection.task.cancel()
            await self._emptied(1.0)
        if self._timer is not None:
            self._timer.cancel()
        return clean

    async def _emptied(self, seconds: float) -> bool:
        if not self._open:
            return True
        self._empty = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._empty,), timeout=seconds)
        return bool(done)

    def _tick(self, now: float) -> None:
        self.now = now
        self.date = encode.date_line(time.time())

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick(loop.time())
        for connection in tuple(self._open):
            connection.check(self.now)
        self._timer = loop.call_later(self.limits.sweep_seconds, self._sweep)

    # For the connections

    def admit(self, connection: Incoming) -> bool:
        """Take a new connection. False: there are too many, or the server is draining."""
        self._open.add(connection)
        if self.connections >= self.limits.connections or self.draining:
            self.connections_shed += 1
            return False
        self.connections += 1
        return True

    def farewell(self) -> bytes | None:
        """What a connection over the cap is sent; None when even that would be too many."""
        if len(self._open) - self.connections > _SHED_LINGERING:
            return None
        code, detail = (
            ("draining", "shutting down") if self.draining else ("overloaded", "too many connections are open")
        )
        reply = encode.bare_problem(code, f"{detail}; try again")
        assert isinstance(reply.body, bytes)
        headers = (*reply.headers, (b"retry-after", b"1"))
        framing = b"content-length: %d\r\n%b" % (len(reply.body), encode.CLOSE)
        return encode.message(reply.status, headers, framing, self.date, reply.body)

    def forget(self, connection: Incoming) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection.task is not None:
            self.connections -= 1
        if not self._open and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def report(self, error: BaseException) -> None:
        """Log where a handler failed. Not what it said: messages of exceptions may hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
        _log.error("a reply could not be made: %s at %s", type(error).__name__, where)
