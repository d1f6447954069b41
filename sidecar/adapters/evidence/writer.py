"""Group commit: whatever gathers while the disk is busy is made durable with the next sync.

The event loop computes (places, bytes, hashes), one thread blocks (write, sync), and they take turns: the appender is
the loop's until a job is given to the thread, and the loop's again when the job has landed. So nothing needs a lock,
and the thread hardly ever wants the interpreter while the loop has it; a thread that did the computing cost the loop
a third of its time (measured). Once a second the thread signs a checkpoint and, when the disk was full or read-only,
looks whether it still is.

**Watchdog.** A disk that hangs must not hang callers: when a job has been at the disk for ``watchdog_seconds``,
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
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from sidecar.adapters.evidence.appender import Appender, Batch, Condition, Entry
from sidecar.adapters.evidence.disk import SyncFailedError
from sidecar.adapters.evidence.frames import DOCUMENT_LIMIT
from sidecar.errors import Unavailable
from sidecar.model.evidence import INTENT, Receipt
from sidecar.ports import Clock, Observer

QUEUE_RECORDS: Final = 16_384
QUEUE_BYTES: Final = 64 << 20  # of documents
_BATCH_BYTES: Final = 8 << 20
_GATHERED_RECORDS: Final = 128  # no turn is waited for beyond
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


class _Owing(asyncio.Future[Receipt]):
    """Waits for the place of an intent. Without it nobody could record the outcome, so it is not cancelled: who is
    stopped meanwhile learns it first. The watchdog bounds that.
    """

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002  # the future's own signature
        """No."""
        return False


class _Waiting(NamedTuple):
    entry: Entry
    future: asyncio.Future[Receipt] | None  # None: stored late, nobody waits any more


_Job = tuple[Callable[[], Any], Callable[[Any], None]] | None
_LAST: Final = None  # the job that ends the thread


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
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._flying: list[_Waiting] = []  # the batch that the thread has
        self._busy_since: float | None = None  # the appender is the thread's
        self._ticks = 0  # of the watchdog, since then
        self._planned = False
        self._gathered = 0  # records in line at the last turn that was waited for
        self._upkeep_due = False
        self._tried_to_rotate = False
        self._closing = False
        self._stalled = False
        self._watchdog: asyncio.TimerHandle | None = None
        self._upkeep: asyncio.TimerHandle | None = None
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._worker = threading.Thread(target=self._run, name="evidence-writer", daemon=True)
        self._worker.start()
        self._look_again()

    def writable(self) -> bool:
        """Whether an intent would be taken now."""
        return self._refusal(owed=False) is None

    def submit(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Put ``entry`` in line. Raises ``Unavailable`` when it is not taken."""
        size = 0 if entry.document is None else len(entry.document)
        if size > DOCUMENT_LIMIT:
            raise _unavailable("The document is too large for the evidence log.")
        refusal = self._refusal(entry.owed)
        if refusal is not None:
            raise _unavailable(refusal)
        future: asyncio.Future[Receipt] | None = None
        if not self._stalled:
            future = _Owing(loop=self._loop) if entry.leaf.kind == INTENT else self._loop.create_future()
        self._queue.append(_Waiting(entry, future))
        self._queued_bytes += size
        if future is None:
            raise _unavailable(_STALLED)
        self._plan()
        return future

    async def close(self) -> bool:
        """Store what waits, sign it, end the thread. False when the disk hangs and the thread could not end."""
        self._closing = True
        self._plan()
        try:
            await asyncio.wait_for(self._ended.wait(), self._watchdog_seconds + 2 * _CHECKPOINT_SECONDS)
        except TimeoutError:
            self._fail_waiters(_STALLED)
            return False
        finally:
            for timer in (self._watchdog, self._upkeep):
                if timer is not None:
                    timer.cancel()
        await asyncio.to_thread(self._worker.join)
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

    # --- turns ---

    def _plan(self) -> None:
        """Launch after what else is ready on the loop: whatever that hands in goes with the same sync."""
        if not self._planned and self._busy_since is None and not self._ended.is_set():
            self._planned = True
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Begin, unless the last turn of the loop brought more records: then the next one may as well.

        A batch costs a sync and two switches of threads. At 64 callers this makes batches five times as large and
        each call 14 microseconds cheaper (measured); a lone caller waits for one empty turn.
        """
        records = len(self._queue)
        if self._gathered < records < _GATHERED_RECORDS:
            self._gathered = records
            self._loop.call_soon(self._gather)
        else:
            self._gathered = 0
            self._launch()

    def _launch(self) -> None:
        """Give the thread its next job, if the appender is ours and there is one."""
        self._planned = False
        if self._busy_since is not None or self._ended.is_set():
            return
        if self._upkeep_due:
            self._upkeep_due = False
            self._give(self._keep_up, self._kept_up)
        elif self._queue and self._appender.grown and not self._tried_to_rotate:
            self._tried_to_rotate = True
            self._give(self._appender.rotate, self._rotated)
        elif self._queue:
            self._tried_to_rotate = False
            batch = self._flying = self._take()
            try:
                prepared = self._appender.prepare([each.entry for each in batch])
            except Exception as error:  # a fault of ours; waiters that stay pending would hang the sidecar
                self._failed(f"{type(error).__name__} in the evidence writer")
                return
            self._give(lambda: self._appender.write(prepared), self._landed)
        elif self._closing:
            self._give(self._appender.checkpoint, self._closed)

    def _give(self, job: Callable[[], Any], landed: Callable[[Any], None]) -> None:
        self._busy_since, self._ticks = self._clock.monotonic(), 0
        if self._watchdog is None:
            self._arm()
        self._jobs.put((job, landed))

    def _take(self) -> list[_Waiting]:
        """The longest head of the queue whose documents fit one batch; at least one entry."""
        size = count = 0
        if self._queued_bytes <= _BATCH_BYTES:
            size, count = self._queued_bytes, len(self._queue)
        else:
            for each in self._queue:
                more = len(each.entry.document or b"")
                if size + more > _BATCH_BYTES and count:
                    break
                size += more
                count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queued_bytes -= size
        return taken

    def _keep_up(self) -> None:
        self._appender.checkpoint()
        self._appender.probe()

    # --- landings, on the loop ---

    def _landed(self, batch: Batch) -> None:
        indices = self._appender.settle(batch)
        flying, took = self._flying, self._return()
        for waiting, index in zip(flying, indices, strict=True):
            future = waiting.future
            if future is None or future.done():
                continue
            if index is None:
                detail = _NOT_TAKEN.get(self._appender.condition, "The record could not be stored.")
                future.set_exception(_unavailable(detail))
            else:
                future.set_result(Receipt(self._origin, index))
        self._observer.observe("evidence_commit", {"records": len(flying), "seconds": took})
        self._tell()
        self._go_on()

    def _rotated(self, _: None) -> None:
        self._return()
        self._tell()
        self._go_on()

    def _kept_up(self, _: None) -> None:
        self._return()
        self._tell()
        self._look_again()
        self._go_on()

    def _closed(self, _: None) -> None:
        self._return()
        self._tell()
        self._end()

    def _failed(self, reason: str) -> None:
        """Nothing may follow: every waiter fails, now and later."""
        self._appender.fail(reason)
        self._busy_since = None
        waiting, self._flying, self._queue, self._queued_bytes = self._flying + self._queue, [], [], 0
        for each in waiting:
            if each.future is not None and not each.future.done():
                each.future.set_exception(_unavailable(_FAILED))
        self._tell()
        self._end()

    def _return(self) -> float:
        """The appender is the loop's again; the seconds it was away."""
        since, self._busy_since, self._flying = self._busy_since, None, []
        self._stalled = False
        return 0.0 if since is None else self._clock.monotonic() - since

    def _go_on(self) -> None:
        if self._queue or self._closing or self._upkeep_due:
            self._plan()
        if self._upkeep is None:
            self._look_again()

    def _tell(self) -> None:
        events, self._appender.events = self._appender.events, []
        for name, fields in events:
            self._observer.observe(name, fields)

    def _end(self) -> None:
        self._jobs.put(_LAST)
        with contextlib.suppress(OSError):
            self._appender.close()
        self._ended.set()

    # --- timers ---

    def _look_again(self) -> None:
        """In a second, if there is something to sign or a disk that may have recovered."""
        needed = self._appender.unsigned or self._appender.condition is not Condition.OPEN
        self._upkeep = self._loop.call_later(_CHECKPOINT_SECONDS, self._upkeep_comes_due) if needed else None

    def _upkeep_comes_due(self) -> None:
        self._upkeep_due = True
        self._plan()

    def _arm(self) -> None:
        self._watchdog = self._loop.call_later(self._watchdog_seconds / _TICKS, self._tick)

    def _tick(self) -> None:
        """Counts ticks, not time: a process that was stopped for a while has missed its ticks, and no disk hung."""
        self._watchdog = None
        if self._busy_since is not None:
            self._ticks += 1
            if self._ticks >= _TICKS:
                if not self._stalled:
                    self._stalled = True
                    self._observer.observe("evidence_stalled", {"seconds": self._watchdog_seconds})
                self._fail_waiters(_STALLED)
        if self._busy_since is not None or self._queue:
            self._arm()

    def _fail_waiters(self, detail: str) -> None:
        failed = self._flying + self._queue
        self._flying = [each._replace(future=None) for each in self._flying]
        self._queue = [_Waiting(each.entry, None) for each in self._queue if each.entry.owed]
        self._queued_bytes = sum(len(each.entry.document or b"") for each in self._queue)
        for each in failed:
            if each.future is not None and not each.future.done():
                each.future.set_exception(_unavailable(detail))

    # --- on the thread ---

    def _run(self) -> None:
        while (given := self._jobs.get()) is not _LAST:
            job, landed = given
            try:
                result = job()
            except SyncFailedError as error:
                self._post(self._failed, f"a sync failed: {error}")
            except OSError as error:
                self._post(self._failed, f"a write failed: {error.strerror}")
            except BaseException as error:
                # waiters that are left pending would hang the sidecar: whatever it was, it fails them
                self._post(self._failed, f"{type(error).__name__} in the evidence writer")
            else:
                self._post(landed, result)

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            self._jobs.put(_LAST)  # the loop is closed: nobody waits any more


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("evidence_unavailable", detail)
