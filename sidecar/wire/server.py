"""The HTTP/1.1 server of the agent-facing doors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final, cast

from sidecar.wire.open_connections import Handler, OnMalformed, OpenConnections, ServerLimits
from sidecar.wire.serving import Connection

_DRAIN_GRACE_SECONDS: Final = 0.05
_CUT_SECONDS: Final = 2.5  # until what was cut is recorded: a disk that hangs is given up after two


class Server(OpenConnections):
    """Accepts connections and answers their requests with ``handler``.

    ``on_malformed`` is told every message that is no acceptable HTTP, with the peer (``ip:port``), and gives the
    reply that is sent before the connection is closed. The handler may raise ``Refused`` (``Request.read`` does):
    ``on_malformed`` answers that too. Anything else it raises is a bare 500, and the connection closes. A handler is
    never cancelled because its peer went away: what it does must reach its record.
    """

    def __init__(self, handler: Handler, on_malformed: OnMalformed, limits: ServerLimits | None = None) -> None:
        super().__init__(handler, on_malformed, limits or ServerLimits())
        self._listening: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

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
        """Stop accepting, answer what was asked, close. False if something was cut after ``seconds``.

        What peers asked that have left meanwhile is waited for as well: it must reach its record.
        """
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
            for task in tuple(self._serving):
                task.cancel()
            await self._emptied(_CUT_SECONDS)
        if self._timer is not None:
            self._timer.cancel()
        return clean

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick(loop.time())
        for connection in tuple(self._open):
            connection.check(self.now)
        self._timer = loop.call_later(self.limits.sweep_seconds, self._sweep)
