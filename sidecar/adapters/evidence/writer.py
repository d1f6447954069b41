"""Group commit: one thread makes durable whatever has gathered while it was busy.

The event loop hands entries over under one lock and awaits a future each; the thread takes all that wait, commits
them with one sync, and resolves them in one callback. Once a second it signs a checkpoint and, when the disk was
full or read-only, looks whether it still is.

**Watchdog.** A disk that hangs must not hang callers: when the thread has been at the disk for ``watchdog_seconds``,
every waiter fails with ``evidence_unavailable`` and nothing new is taken until the thread comes back (E08). What then
became of the records that were reported as failed? Those the thread already had may turn out durable: an intent whose
call was refused stands in the log as "unknown", which never claims too much; a refusal or an outcome says what did
happen. Of those that still waited, intents and refusals of their own are dropped (their calls were refused, nothing
happened), while records that follow an intent stay in line to be stored late: their calls have had an effect, and the
answer was withheld.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sidecar.adapters.evidence.appender import Appender, Condition, Entry
from sidecar.adapters.evidence.disk import SyncFailedError
from sidecar.adapters.evidence.frames import DOCUMENT_LIMIT
from sidecar.errors import Unavailable
from sidecar.model.evidence import Receipt
from sidecar.ports import Clock, Observer

QUEUE_RECORDS: Final = 16_384
QUEUE_BYTES: Final = 64 << 20  # of documents
_BATCH_BYTES: Final = 8 << 20
_CHECKPOINT_SECONDS: Final = 1.0
_TICKS: Final = 8  # how often the watchdog looks within its time

_FAILED: Final = "The evidence log has failed and takes no records; the sidecar must be restarted."
_STALLED: Final = "The evidence log's disk does not answer; the call was not made or its answer is withheld."
_CLOSED: Final = "The evidence log is closed."
_BUSY: Final = "The evidence log has too many records waiting."
_NOT_TAKEN: Final = {
    Condition.FULL: "The evidence log's disk is full; only calls in flight are recorded until there is room.",
    Condition.READ_ONLY: "The evidence log's disk is read-only.",
    Condition.FAILED: _FAILED,
}


class _Waiting(NamedTuple):
    entry: Entry
    future: asyncio.Future[Receipt] | None  # None: stored late, nobody waits any more


class Writer:
    """The thread and its queue, bound to the running event loop; every public method is called on that loop."""

    def __init__(
        self, appender: Appender, origin: str, clock: Clock, observer: Observer, watchdog_seconds: float
    ) -> None:
        self._appender = appender
        self._origin = origin
        self._clock = clock
        self._observer = observer
        self._watchdog_seconds = watchdog_seconds
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        # shared with the thread, under the condition's lock
        self._condition = threading.Condition(threading.Lock())
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._batch: list[_Waiting] = []
        self._busy_since: float | None = None
        self._closing = False
        self._stalled = False
        self._due = clock.monotonic() + _CHECKPOINT_SECONDS
        self._thread = threading.Thread(target=self._run, name="evidence-writer", daemon=True)
        self._thread.start()

    # --- on the event loop ---

    def writable(self) -> bool:
        """Whether an intent would be taken now."""
        return self._refusal(owed=False) is None

    def submit(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Put ``entry`` in line. Raises ``Unavailable`` when it is not taken."""
        size = 0 if entry.document is None else len(entry.document)
        if size > DOCUMENT_LIMIT:
            raise _unavailable("The document is too large for the evidence log.")
        with self._condition:
            refusal = self._refusal(entry.owed)
            if refusal is not None:
                raise _unavailable(refusal)
            future = None if self._stalled else self._loop.create_future()
            self._queue.append(_Waiting(entry, future))
            self._queued_bytes += size
            self._condition.notify()
        if future is None:
            raise _unavailable(_STALLED)
        if self._timer is None:
            self._arm()
        return future

    async def close(self) -> bool:
        """Store what waits, sign it, end the thread. False when the disk hangs and the thread could not end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        try:
            await asyncio.wait_for(self._ended.wait(), self._watchdog_seconds + 2 * _CHECKPOINT_SECONDS)
        except TimeoutError:
            self._fail_waiters(_STALLED)
            return False
        finally:
            if self._timer is not None:
                self._timer.cancel()
        await asyncio.to_thread(self._thread.join)
        return True

    def _refusal(self, owed: bool) -> str | None:
        condition = self._appender.condition
        if self._closing or self._ended.is_set():
            return _FAILED if condition is Condition.FAILED else _CLOSED
        if condition is not Condition.OPEN and not (owed and condition is Condition.FULL):
            return _NOT_TAKEN[condition]
        if self._stalled and not owed:
            return _STALLED
        room = 2 if owed else 1  # outcomes have a lane of their own behind the intents' bound
        if len(self._queue) >= room * QUEUE_RECORDS or self._queued_bytes >= room * QUEUE_BYTES:
            return _BUSY
        return None

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self._watchdog_seconds / _TICKS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        with self._condition:
            since = self._busy_since
            idle = since is None and not self._queue
            hangs = since is not None and self._clock.monotonic() - since >= self._watchdog_seconds
            known, self._stalled = self._stalled, self._stalled or hangs
        if hangs and not known:
            self._observer.observe("evidence_stalled", {"seconds": self._watchdog_seconds})
        if hangs:
            self._fail_waiters(_STALLED)
        if not idle:
            self._arm()

    def _fail_waiters(self, detail: str) -> None:
        with self._condition:
            failed = self._batch + self._queue
            self._queue = [_Waiting(each.entry, None) for each in self._queue if each.entry.owed]
            self._queued_bytes = sum(len(each.entry.document or b"") for each in self._queue)
        for each in failed:
            if each.future is not None and not each.future.done():
                each.future.set_exception(_unavailable(detail))

    def _settle(
        self, batch: list[_Waiting], indices: list[int | None], events: list[tuple[str, dict[str, Any]]], took: float
    ) -> None:
        with self._condition:
            self._stalled = False
        for waiting, index in zip(batch, indices, strict=True):
            future = waiting.future
            if future is None or future.done():
                continue
            if index is None:
                detail = _NOT_TAKEN.get(self._appender.condition, "The record could not be stored.")
                future.set_exception(_unavailable(detail))
            else:
                future.set_result(Receipt(self._origin, index))
        if batch:
            self._observer.observe("evidence_commit", {"records": len(batch), "seconds": took})
        for name, fields in events:
            self._observer.observe(name, fields)

    # --- on the thread ---

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._appender.checkpoint()
            self._finish([], [])
        except SyncFailedError as error:
            self._fail(f"a sync failed: {error}")
        except OSError as error:
            self._fail(f"a write failed: {error.strerror}")
        except BaseException as error:
            # waiters that are left pending would hang the sidecar: whatever it was, it fails them
            self._fail(f"{type(error).__name__} in the evidence writer")
        finally:
            with contextlib.suppress(OSError):
                self._appender.close()
            self._post(self._ended.set)

    def _turn(self) -> bool:
        batch = self._take()
        if batch:
            indices = self._appender.commit([each.entry for each in batch])
            self._finish(batch, indices)
        now = self._clock.monotonic()
        if now >= self._due:
            self._due = now + _CHECKPOINT_SECONDS
            with self._condition:
                self._busy_since = now
            self._appender.checkpoint()
            self._appender.probe()
            self._finish([], [])
        with self._condition:
            return bool(self._queue) or not self._closing

    def _take(self) -> list[_Waiting]:
        """Wait for entries or the next second, and take what is there."""
        with self._condition:
            while not self._queue and not self._closing:
                pause = self._pause()
                if pause is not None and pause <= 0:
                    break
                self._condition.wait(pause)
            if self._queued_bytes <= _BATCH_BYTES:
                self._batch, self._queue, self._queued_bytes = self._queue, [], 0
            else:
                self._batch = self._slice()
            if self._batch:
                self._busy_since = self._clock.monotonic()
            return self._batch

    def _pause(self) -> float | None:
        """Seconds until there is something to do without entries; None when there will be nothing."""
        if not self._appender.unsigned and self._appender.condition is Condition.OPEN:
            return None
        return self._due - self._clock.monotonic()

    def _slice(self) -> list[_Waiting]:
        size = count = 0
        for each in self._queue:
            size += len(each.entry.document or b"")
            if size > _BATCH_BYTES and count:
                size -= len(each.entry.document or b"")
                break
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queued_bytes -= size
        return taken

    def _finish(self, batch: list[_Waiting], indices: list[int | None]) -> None:
        with self._condition:
            since, self._busy_since = self._busy_since, None
            self._batch = []
            stalled = self._stalled
        events, self._appender.events = self._appender.events, []
        took = 0.0 if since is None else self._clock.monotonic() - since
        if batch or events or stalled:
            self._post(self._settle, batch, indices, events, took)

    def _fail(self, reason: str) -> None:
        self._appender.fail(reason)
        with self._condition:
            batch, self._queue = self._batch + self._queue, []
            self._batch, self._busy_since = [], None
        self._finish(batch, [None] * len(batch))

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("evidence_unavailable", detail)
