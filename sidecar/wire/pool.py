"""Which connection a request may use: limits per target, first come first served, never a doubtful one.

Decisions are synchronous; only waiting for a place is awaited. A *place* is the right to have one connection open to
a target: dialling takes it, the connection's end gives it back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Poolable(Protocol):
    """A connection as the pool sees it."""

    @property
    def peer(self) -> str:
        """The address it reached."""

    def fit(self) -> bool:
        """Whether it is open and silent: a closed one, or one with unread bytes, must not carry a request."""

    def close(self) -> None:
        """End it. Unless it had ended before, it then calls the pool's ``gone``."""


C = TypeVar("C", bound=Poolable)


class _Lane(Generic[C]):
    """One target: how many places are taken, which connections rest, who waits with which addresses."""

    __slots__ = ("idle", "taken", "waiters")

    def __init__(self) -> None:
        self.taken = 0
        self.idle: list[C] = []
        self.waiters: deque[tuple[asyncio.Future[C | None], tuple[str, ...]]] = deque()


class Pool(Generic[C]):
    """Connections by key; at most ``limit`` places a key. ``gone`` must be called once for every taken place."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lanes: dict[Hashable, _Lane[C]] = {}
        self._retired = False

    def take(self, key: Hashable, addresses: tuple[str, ...]) -> C | None:
        """A resting connection, the latest used first, whose peer is one of the checked ``addresses``."""
        lane = self._lanes.get(key)
        if lane is None:
            return None
        idle = lane.idle
        for position in range(len(idle) - 1, -1, -1):
            connection = idle[position]
            if connection.peer in addresses:
                del idle[position]
                if connection.fit():
                    return connection
                connection.close()
        return None

    async def reserve(self, key: Hashable, addresses: tuple[str, ...], until: float) -> C | None:
        """A connection that became free, or None: a place to dial was taken. Raises ``TimeoutError`` at ``until``."""
        while True:
            connection = self.take(key, addresses)
            if connection is not None:
                return connection
            lane = self._lanes.setdefault(key, _Lane())
            if lane.taken >= self._limit and lane.idle:
                lane.idle.pop(0).close()  # it rests at an address this call may not use: make room
                continue
            if lane.taken < self._limit:
                lane.taken += 1
                return None
            connection = await self._wait(key, lane, addresses, until)
            if connection is None or connection.fit():
                return connection
            connection.close()

    def free(self, key: Hashable, connection: C) -> None:
        """The connection's answer ended cleanly: hand it to who waits longest, or let it rest."""
        lane = self._lanes[key]
        while lane.waiters:
            waiter, addresses = lane.waiters[0]
            if waiter.done():
                lane.waiters.popleft()
                continue
            if connection.peer in addresses:
                lane.waiters.popleft()
                waiter.set_result(connection)
            else:
                connection.close()  # its place goes to the waiter, which dials an address of its own
            return
        if self._retired:
            connection.close()
        else:
            lane.idle.append(connection)

    def gone(self, key: Hashable, connection: C | None = None) -> None:
        """A place is given back: its connection ended, or the dial failed."""
        lane = self._lanes[key]
        if connection is not None and connection in lane.idle:
            lane.idle.remove(connection)
        while lane.waiters:
            waiter, _ = lane.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        lane.taken -= 1
        if not lane.taken:
            del self._lanes[key]

    def retire(self) -> None:
        """Keep nothing from now on: resting connections end now, busy ones after their answer."""
        self._retired = True
        for lane in tuple(self._lanes.values()):
            for connection in tuple(lane.idle):
                connection.close()

    def __len__(self) -> int:
        """How many keys have a place taken."""
        return len(self._lanes)

    def counts(self) -> tuple[int, int, int]:
        """Places taken, connections resting, calls waiting; over all keys."""
        lanes = self._lanes.values()
        return (
            sum(lane.taken for lane in lanes),
            sum(len(lane.idle) for lane in lanes),
            sum(not waiter.done() for lane in lanes for waiter, _ in lane.waiters),
        )

    async def _wait(self, key: Hashable, lane: _Lane[C], addresses: tuple[str, ...], until: float) -> C | None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[C | None] = loop.create_future()
        entry = (waiter, addresses)
        lane.waiters.append(entry)
        timer = loop.call_at(until, _time_out, waiter)
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(key, waiter.result())
            elif entry in lane.waiters:
                lane.waiters.remove(entry)
            raise
        finally:
            timer.cancel()

    def _give_back(self, key: Hashable, handed: C | None) -> None:
        """The waiter was cancelled in the same turn in which it was served."""
        if handed is None:
            self.gone(key)
        elif handed.fit():
            self.free(key, handed)
        else:
            handed.close()


def _time_out(waiter: asyncio.Future[C | None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
