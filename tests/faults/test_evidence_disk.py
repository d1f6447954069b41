"""A failing disk, at the system-call boundary: runs anywhere. ``test_evidence_real_disk`` does it to real ones."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.evidence.log import SegmentLog
from sidecar.adapters.evidence.verify import verify_log
from sidecar.errors import Unavailable
from tests.evidence import a_leaf, append_calls, open_log, until
from tests.fakes.observer import RecordingObserver

WATCHDOG = 0.4


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def log(tmp_path: Path, observer: RecordingObserver) -> AsyncIterator[SegmentLog]:
    made = open_log(tmp_path, observer=observer, watchdog_seconds=WATCHDOG)
    await append_calls(made, 2)
    yield made
    await made.close()


class Disk:
    """The system calls that evidence makes; ``error`` breaks writes and allocations, ``sync_error`` syncs."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.only_while: Path | None = None  # break writes only while this file is there
        self.sync_error = 0
        self.syncs_after_failure = 0
        self.longest_write = 1 << 30
        self.may_sync = threading.Event()
        self.may_sync.set()
        self._write, self._sync, self._allocate, self._open = os.pwrite, os.fdatasync, os.posix_fallocate, os.open
        patch.setattr(os, "pwrite", self.pwrite)
        patch.setattr(os, "fdatasync", self.fdatasync)
        patch.setattr(os, "posix_fallocate", self.posix_fallocate)
        patch.setattr(os, "open", self.open)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if self.error and (self.only_while is None or self.only_while.exists()):
            raise OSError(self.error, os.strerror(self.error))
        return self._write(descriptor, data[: self.longest_write], offset)

    def fdatasync(self, descriptor: int) -> None:
        assert self.may_sync.wait(30)
        if self.sync_error:
            self.syncs_after_failure += 1
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        self._sync(descriptor)

    def posix_fallocate(self, descriptor: int, offset: int, length: int) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self._allocate(descriptor, offset, length)

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        if self.error == errno.EROFS and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(self.error, os.strerror(self.error))
        return self._open(path, flags, mode)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, log: SegmentLog) -> Disk:
    return Disk(monkeypatch)


async def is_refused(log: SegmentLog, kind: str = "intent", intent: int | None = None) -> bool:
    try:
        await log.append(a_leaf(kind, intent=intent))
    except Unavailable as error:
        assert error.code == "evidence_unavailable"
        return True
    return False


async def test_a_full_disk_refuses_calls_saves_outcomes_and_recovers(
    log: SegmentLog, disk: Disk, tmp_path: Path, observer: RecordingObserver
) -> None:  # E05
    in_flight = [await log.append(a_leaf(call_id=str(number))) for number in range(20)]
    disk.error, disk.only_while = errno.ENOSPC, tmp_path / "reserve"
    first = await asyncio.gather(
        *[log.append(a_leaf("outcome", call_id=str(n), intent=each.index)) for n, each in enumerate(in_flight[:10])],
        *[log.append(a_leaf()) for _ in range(10)],
        return_exceptions=True,
    )
    assert [isinstance(each, Unavailable) for each in first] == [False] * 10 + [True] * 10
    assert not log.writable()
    assert await is_refused(log)
    assert await is_refused(log, "refusal")
    for number, each in enumerate(in_flight[10:], start=10):
        await log.append(a_leaf("outcome", call_id=str(number), intent=each.index))
    disk.error = 0
    await until(log.writable)
    await append_calls(log, 1)
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert report.unknown == []
    assert [name for name, _ in observer.events if name in ("evidence_full", "evidence_recovered")] == [
        "evidence_full",
        "evidence_recovered",
    ]


async def test_a_failed_sync_closes_the_log_and_is_never_tried_again(
    log: SegmentLog, disk: Disk, tmp_path: Path, observer: RecordingObserver
) -> None:  # E06
    disk.sync_error = errno.EIO
    results = await asyncio.gather(*[log.append(a_leaf()) for _ in range(30)], return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in results)
    assert disk.syncs_after_failure == 1
    disk.sync_error = 0
    assert not log.writable()
    assert await is_refused(log)
    assert await is_refused(log, "outcome", 0)
    await until(lambda: bool(observer.named("evidence_failed")))
    assert disk.syncs_after_failure == 1
    await log.close()
    again = open_log(tmp_path)
    assert again.size >= 4
    await append_calls(again, 1)
    await again.close()
    assert verify_log(tmp_path).ok


async def test_a_failed_write_closes_the_log(log: SegmentLog, disk: Disk, tmp_path: Path) -> None:
    disk.error = errno.EIO
    assert await is_refused(log)
    disk.error = 0
    assert await is_refused(log)
    await log.close()
    assert verify_log(tmp_path).records == 4


async def test_short_writes_are_written_on(log: SegmentLog, disk: Disk, tmp_path: Path) -> None:  # E07
    disk.longest_write = 7
    await append_calls(log, 5)
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok
    assert report.records == 14


async def test_a_hung_sync_refuses_in_time_and_the_loop_stays_free(
    log: SegmentLog, disk: Disk, tmp_path: Path
) -> None:  # E08
    intent = await log.append(a_leaf(call_id="in flight"))
    worst = 0.0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal worst
        while not done.is_set():
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - begun - 0.005)

    watching = asyncio.ensure_future(watch())
    disk.may_sync.clear()
    begun = time.monotonic()
    results = await asyncio.gather(
        log.append(a_leaf(call_id="hung")),
        *[log.append(a_leaf()) for _ in range(50)],
        log.append(a_leaf("outcome", call_id="in flight", intent=intent.index)),
        return_exceptions=True,
    )
    took = time.monotonic() - begun
    assert all(isinstance(each, Unavailable) for each in results)
    assert WATCHDOG * 0.9 <= took <= 2 * WATCHDOG + 0.5
    assert not log.writable()
    assert await is_refused(log)
    disk.may_sync.set()
    await until(log.writable)
    done.set()
    await watching
    assert worst < WATCHDOG / 2, f"the event loop stood still for {worst:.3f} s"
    after = await log.append(a_leaf("refusal", call_id="after"))
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert intent.index not in report.unknown  # its outcome was stored late
    assert after.index == report.records - 1


async def test_a_slow_disk_only_slows(log: SegmentLog, disk: Disk, tmp_path: Path) -> None:
    disk.may_sync.clear()
    waiting = asyncio.gather(*[log.append(a_leaf()) for _ in range(10)])
    asyncio.get_running_loop().call_later(WATCHDOG / 3, disk.may_sync.set)
    assert [each.index for each in await waiting] == list(range(4, 14))


async def test_a_read_only_disk_refuses_and_recovers(
    log: SegmentLog, disk: Disk, tmp_path: Path, observer: RecordingObserver
) -> None:  # E09
    disk.error = errno.EROFS
    assert await is_refused(log)
    assert not log.writable()
    assert await is_refused(log, "outcome", 0)
    leaf = await log.read(2)
    assert leaf is not None
    assert leaf.index == 2
    disk.error = 0
    await until(log.writable)
    await append_calls(log, 3)
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert report.records == 10
    assert len(observer.named("evidence_read_only")) == 1


async def test_nothing_is_released_before_it_is_durable(log: SegmentLog, disk: Disk) -> None:  # INV-7
    disk.may_sync.clear()
    waiting = asyncio.ensure_future(log.append(a_leaf()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert log.size == 4
    assert await log.read(4) is None
    disk.may_sync.set()
    assert (await waiting).index == 4
