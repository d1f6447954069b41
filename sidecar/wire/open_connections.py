"""What the connections of a server share: its limits, its clock, its handler, and their count."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sidecar.errors import Refused
from sidecar.wire import encode
from sidecar.wire.message import Reply, Request

Handler = Callable[[Request], Awaitable[Reply]]
OnMalformed = Callable[[Refused, str], Awaitable[Reply]]

_SWEEP_SECONDS: Final = 0.5
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


class Open(Protocol):
    """An open connection, as a server sees it. ``task`` answers its requests; None where it was not admitted."""

    task: asyncio.Task[None] | None

    @property
    def idle(self) -> bool:
        """Whether nothing was asked that is not answered."""

    def check(self, now: float) -> None:
        """Close it when a time ran out; ``now`` is of the loop's clock."""

    def close(self) -> None:
        """Close it once everything is written."""

    def abort(self) -> None:
        """Cut it."""


class OpenConnections:
    """Every connection gets this at its start, and tells it when it is gone."""

    def __init__(self, handler: Handler, on_malformed: OnMalformed, limits: ServerLimits) -> None:
        self.handler = handler
        self.on_malformed = on_malformed
        self.limits = limits
        self.in_flight = 0  # requests being answered
        self.connections = 0  # open connections that were admitted
        self.connections_shed = 0  # ever, because there were too many
        self.draining = False
        self.now = 0.0  # the loop's clock at the last sweep
        self.date = b""
        self._open: set[Open] = set()
        self._serving: set[asyncio.Task[None]] = set()  # outlive connections whose peer left in the middle
        self._empty: asyncio.Future[None] | None = None

    def admit(self, connection: Open) -> bool:
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

    def serve(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The task that answers the requests of an admitted connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._served)
        return task

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._tell_empty()

    def forget(self, connection: Open) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection.task is not None:
            self.connections -= 1
        self._tell_empty()

    def report(self, error: BaseException) -> None:
        """Log where a handler failed. Not what it said: messages of exceptions may hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
        _log.error("a reply could not be made: %s at %s", type(error).__name__, where)

    def _tell_empty(self) -> None:
        if not self._open and not self._serving and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def _emptied(self, seconds: float) -> bool:
        """Whether every connection is gone and every request answered before ``seconds`` are over."""
        if not self._open and not self._serving:
            return True
        self._empty = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._empty,), timeout=seconds)
        return bool(done)

    def _tick(self, now: float) -> None:
        self.now = now
        self.date = encode.date_line(time.time())
