"""Keeps what is in memory as the registry is: no call waits for the store, and a change is in force within a second.

The registry is asked for what changed, four times a second. A store that was put back to an older state (a backup, a
lost disk) does not have the row that was read last: then everything is read again from its beginning.
"""

from __future__ import annotations

from typing import Protocol

from sidecar.model.registry import Row
from sidecar.ports import Clock, Observer, RegistryFeed

_PAGE = 500


class Taker(Protocol):
    """What is kept in memory. Times are seconds of a monotonic clock."""

    def take(self, row: Row) -> None:
        """A row as it is now, removed ones included; the same one may come twice."""

    def forget(self) -> None:
        """What was taken is of another history; all rows that there are follow at once."""

    def known(self, at: float) -> None:
        """Every row that was there at ``at`` has been taken."""

    def unknown(self, now: float) -> None:
        """The registry could not be read."""


class Follower:
    """Hands every change to ``taker``."""

    def __init__(self, feed: RegistryFeed, clock: Clock, observer: Observer, taker: Taker) -> None:
        self._feed = feed
        self._clock = clock
        self._observer = observer
        self._taker = taker
        self._last: Row | None = None  # read from the store
        self._newest = 0  # sequence of what was taken, read or noticed
        self._versions: dict[tuple[str, str], int] = {}  # the sequence of each row that was taken

    async def look(self) -> None:
        """Take what changed since the last look. Raises what the store does, when the taker has been told."""
        began = self._clock.monotonic()
        try:
            await self._catch_up()
        except Exception:  # whatever it is, the registry was not read
            self._taker.unknown(self._clock.monotonic())
            raise
        self._taker.known(began)

    def notice(self, row: Row) -> None:
        """A row that this process has just written: in force at once."""
        key = (row.kind, row.id)
        if row.sequence <= self._versions.get(key, 0):
            return  # it was written again meanwhile, and that has been seen
        self._versions[key] = row.sequence
        self._newest = max(self._newest, row.sequence)
        self._taker.take(row)

    async def _catch_up(self) -> None:
        newest = self._newest
        while True:
            after = self._last.sequence if self._last else 0
            # The row that was read last comes again, so that its absence is seen.
            rows = await self._feed.changes(max(0, after - 1), _PAGE)
            if self._last is not None and not self._continues(rows, self._last):
                await self._begin_anew()
                return
            for row in rows:
                self.notice(row)
            if rows:
                self._last = rows[-1]
            if len(rows) < _PAGE:
                break
        if newest > (self._last.sequence if self._last else 0):
            await self._begin_anew()  # what this process wrote is not there any more

    def _continues(self, rows: list[Row], last: Row) -> bool:
        """Whether these rows come after ``last``: it is there as it was, or it was written again since."""
        if not rows:
            return False
        return rows[0] == last or rows[0].sequence > last.sequence

    async def _begin_anew(self) -> None:
        rows: list[Row] = []
        while page := await self._feed.changes(rows[-1].sequence if rows else 0, _PAGE):
            rows += page
        self._observer.observe("registry_restored", {"rows": len(rows)})
        # All at once: there is no moment at which a switch that is set is not known.
        self._versions.clear()
        self._newest = 0
        self._taker.forget()
        for row in rows:
            self.notice(row)
        self._last = rows[-1] if rows else None
