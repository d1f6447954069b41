"""The HTTP/1.1 client: one request to one checked target, over pooled connections.

It looks up no names, follows no redirects, reads no environment, and never sends a request twice: a failure says
whether anything may have reached the upstream, and the caller decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast

from sidecar.errors import UpstreamFailure
from sidecar.wire.answer import Answer
from sidecar.wire.deadlines import Deadlines, Timeouts
from sidecar.wire.dial import Key, Target, dial
from sidecar.wire.fields import Fields
from sidecar.wire.pool import Pool
from sidecar.wire.request_head import write_head
from sidecar.wire.upstream import Upstream

__all__ = ["Answer", "Client", "Target", "Timeouts"]

_ONE_WRITE: Final = 64 * 1024  # a larger body is not copied behind its head


class _Place:
    """A connection's home: the pool, under the key it was dialled for."""

    __slots__ = ("_key", "_open", "_pool")

    def __init__(self, pool: Pool[Upstream], key: Key, open_connections: set[Upstream]) -> None:
        self._pool = pool
        self._key = key
        self._open = open_connections

    def free(self, connection: Upstream) -> None:
        self._pool.free(self._key, connection)

    def gone(self, connection: Upstream) -> None:
        self._open.discard(connection)
        self._pool.gone(self._key, connection)


class Client:
    """Sends requests over at most ``connections_per_target`` connections each; idle ones end after ``idle_seconds``.

    Belongs to the event loop it is first used on.
    """

    def __init__(self, connections_per_target: int = 64, idle_seconds: float = 30) -> None:
        self._pool: Pool[Upstream] = Pool(connections_per_target)
        self._idle_seconds = idle_seconds
        self._open: set[Upstream] = set()
        self._deadlines: Deadlines | None = None
        self._closed = False

    async def send(
        self,
        target: Target,
        method: str,
        path: str,
        headers: Fields,
        body: bytes | AsyncIterator[bytes],
        timeouts: Timeouts,
        *,
        head_bytes: int = 32768,
    ) -> Answer:
        """Send one request and return once the answer's head is there.

        ``path`` is the origin-form; ``headers`` have lower-case names and none that frames or routes the message;
        an iterator is sent chunked. ``head_bytes`` bounds the answer's head. Raises ``UpstreamFailure``, and
        ``Refused("malformed")`` before anything is dialled if the request cannot be written. Cancelling it ends the
        connection.
        """
        plain = body if isinstance(body, bytes) else None
        head = write_head(method, path, target.authority, headers, None if plain is None else len(plain))
        loop = asyncio.get_running_loop()
        total_at = loop.time() + timeouts.total
        connection = self._pool.take(target.key, target.addresses)
        if connection is None:
            connection = await self._connect(target, min(loop.time() + timeouts.connect, total_at))
        small = plain is not None and len(plain) <= _ONE_WRITE
        answer, arrived = connection.ask(
            head + plain if small and plain else head,
            whole=small,
            to_head=method == "HEAD",
            head_bytes=head_bytes,
            timeouts=timeouts,
            total_at=total_at,
        )
        try:
            if plain is None:
                await _send_pieces(connection, cast("AsyncIterator[bytes]", body), answer, arrived)
            elif not small:
                connection.send_rest(plain)
            await arrived
        except BaseException:
            answer.abort()
            raise
        if not answer.status and answer.failure is not None:
            raise answer.failure
        return answer

    def retire(self) -> None:
        """Keep no connection from now on: resting ones end now, busy ones after their answer."""
        self._pool.retire()

    async def close(self) -> None:
        """End every connection; wait at most a second until the sockets are closed. Unfinished answers fail."""
        self._closed = True
        self._pool.retire()
        connections = tuple(self._open)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([asyncio.ensure_future(c.ended()) for c in connections], timeout=1)

    def counts(self) -> tuple[int, int, int]:
        """Connections open or being dialled, connections resting, requests waiting for one."""
        return self._pool.counts()

    async def _connect(self, target: Target, until: float) -> Upstream:
        """A connection that became free in the meantime, or a new one."""
        try:
            connection = await self._pool.reserve(target.key, target.addresses, until)
        except TimeoutError:
            detail = f"every connection to {target.host} stayed busy"
            raise UpstreamFailure("upstream_timeout", detail, sent=False) from None
        if connection is not None:
            return connection
        try:
            connection = await self._dial(target, until)
        except BaseException:
            self._pool.gone(target.key)
            raise
        connection.home = _Place(self._pool, target.key, self._open)
        self._open.add(connection)
        return connection

    async def _dial(self, target: Target, until: float) -> Upstream:
        if self._closed:
            raise UpstreamFailure("upstream_unavailable", "the sidecar is shutting down", sent=False)
        if self._deadlines is None:
            self._deadlines = Deadlines(asyncio.get_running_loop())
        deadlines, idle_seconds = self._deadlines, self._idle_seconds
        connection = await dial(target, lambda peer: Upstream(peer, deadlines, idle_seconds), until)
        if connection.closed:
            raise UpstreamFailure("upstream_unavailable", f"{target.host} closed the connection", sent=False)
        return connection


async def _send_pieces(
    connection: Upstream, pieces: AsyncIterator[bytes], answer: Answer, arrived: asyncio.Future[None]
) -> None:
    """Send the body until it ends or the answer's head comes.

    An upstream that accepts may answer while it reads, so the sending goes on; one that refuses reads no more.
    """

    def give_up(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not answer.ended:
            answer.abort()

    sender = connection.sender = asyncio.create_task(connection.send_pieces(pieces))
    sender.add_done_callback(give_up)
    await asyncio.wait((sender, arrived), return_when=asyncio.FIRST_COMPLETED)
    if not answer.status:
        if sender.done() and not sender.cancelled():
            sender.result()
    elif answer.status >= 400:
        sender.cancel()
