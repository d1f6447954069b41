"""The writer thread and its queue: bounds, the watchdog, and no waiter left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.evidence import writer as writer_module
from sidecar.adapters.evidence.appender import Appender, Batch, Condition, Entry
from sidecar.adapters.evidence.disk import Reserve, SyncFailedError
from sidecar.adapters.evidence.keys import TenantKey
from sidecar.adapters.evidence.records import Recorder
from sidecar.adapters.evidence.recovery import State
from sidecar.adapters.evidence.writer import Writer
from sidecar.errors import Unavailable
from sidecar.rules.notes import Signer
from sidecar.rules.tree import Frontier
from tests.evidence import RealClock, a_leaf, until
from tests.fakes.observer import RecordingObserver

ORIGIN = "acme-00112233"
WATCHDOG = 0.3


class Disk(Appender):
    """An appender whose writes can be held, counted and made to fail."""

    def __init__(self, directory: Path) -> None:
        state = State(-1, 0, 0, None, Frontier(), {}, 0, {}, 0)
        recorder, signer = Recorder(ORIGIN, TenantKey(b"k" * 32)), Signer(ORIGIN, b"s" * 32)
        super().__init__(directory, state, signer, recorder, Reserve(directory, 1 << 16), 1 << 20, 0)
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.failure: BaseException | None = None
        self.batches: list[list[str]] = []

    def write(self, batch: Batch) -> Batch:
        self.begun.set()
        self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        self.batches.append([each.leaf.call_id for each in batch.entries])
        return super().write(batch)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def writer(disk: Disk, observer: RecordingObserver) -> AsyncIterator[Writer]:
    made = Writer(disk, ORIGIN, RealClock(), observer, WATCHDOG)
    yield made
    disk.go.set()
    await made.close()


def entry(
    kind: str = "intent", call: str = "call", intent: int | None = None, document: bytes | None = None
) -> Entry:
    return Entry(a_leaf(kind, call_id=call, intent=intent), 1, document)


async def test_what_gathers_while_the_disk_is_busy_is_one_batch(writer: Writer, disk: Disk) -> None:
    disk.go.clear()
    first = writer.submit(entry(call="0"))
    await until(disk.begun.is_set)
    rest = [writer.submit(entry(call=str(number))) for number in range(1, 10)]
    disk.go.set()
    receipts = await asyncio.gather(first, *rest)
    assert [receipt.index for receipt in receipts] == list(range(10))
    assert disk.batches == [["0"], [str(number) for number in range(1, 10)]]


async def test_a_batch_of_documents_is_bounded(writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_BATCH_BYTES", 100)
    disk.go.clear()
    waiting = [writer.submit(entry(call="0"))]
    await until(disk.begun.is_set)
    waiting += [writer.submit(entry(call=str(size), document=b"x" * size)) for size in (60, 40, 1, 500, 99)]
    disk.go.set()
    assert [receipt.index for receipt in await asyncio.gather(*waiting)] == list(range(6))
    assert disk.batches == [["0"], ["60", "40"], ["1"], ["500"], ["99"]]


async def test_the_queue_is_bounded_and_outcomes_have_a_lane_of_their_own(
    writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUE_RECORDS", 3)
    disk.go.clear()
    waiting = [writer.submit(entry())]
    await until(disk.begun.is_set)
    waiting += [writer.submit(entry()) for _ in range(3)]
    assert not writer.writable()
    with pytest.raises(Unavailable, match="too many"):
        writer.submit(entry())
    waiting += [writer.submit(entry("outcome", intent=0)) for _ in range(3)]
    with pytest.raises(Unavailable, match="too many"):
        writer.submit(entry("outcome", intent=0))
    disk.go.set()
    await asyncio.gather(*waiting)
    assert writer.writable()


async def test_a_document_that_no_frame_holds_is_refused(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "DOCUMENT_LIMIT", 10)
    with pytest.raises(Unavailable, match="too large"):
        writer.submit(entry(document=b"x" * 11))


async def test_a_hung_disk_fails_every_waiter_and_keeps_what_is_owed(
    writer: Writer, disk: Disk, observer: RecordingObserver
) -> None:  # E08
    intent = await writer.submit(entry(call="before"))
    disk.begun.clear()
    disk.go.clear()
    held = writer.submit(entry(call="held"))
    await until(disk.begun.is_set)
    dropped = writer.submit(entry(call="dropped"))
    owed = writer.submit(entry("outcome", "before", intent.index))
    for future in (held, dropped, owed):
        with pytest.raises(Unavailable, match="does not answer"):
            await asyncio.wait_for(future, 10 * WATCHDOG)
    assert not writer.writable()
    with pytest.raises(Unavailable, match="does not answer"):
        writer.submit(entry(call="refused"))
    with pytest.raises(Unavailable, match="does not answer"):
        writer.submit(entry("chunk", "late", intent.index))
    assert len(observer.named("evidence_stalled")) == 1
    disk.go.set()
    await until(writer.writable)
    await writer.submit(entry(call="after"))
    assert disk.batches[1:] in ([["held"], ["before", "late"], ["after"]], [["held"], ["before", "late", "after"]])


@pytest.mark.parametrize("failure", [SyncFailedError("EIO"), OSError(5, "Input/output error"), KeyError("a fault")])
async def test_whatever_fails_the_thread_fails_every_waiter_for_good(
    writer: Writer, disk: Disk, observer: RecordingObserver, failure: Exception
) -> None:  # E06
    disk.failure = failure
    disk.go.clear()
    waiting = [writer.submit(entry())]
    await until(disk.begun.is_set)
    waiting += [writer.submit(entry("outcome", intent=0)) for _ in range(5)]
    disk.go.set()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
    assert all(isinstance(each, Unavailable) for each in results)
    assert disk.condition is Condition.FAILED
    assert not writer.writable()
    with pytest.raises(Unavailable, match="restarted"):
        writer.submit(entry("outcome", intent=0))
    await until(lambda: bool(observer.named("evidence_failed")))


async def test_a_caller_that_left_does_not_disturb_the_others(writer: Writer, disk: Disk) -> None:
    disk.go.clear()
    first, second = writer.submit(entry()), writer.submit(entry())
    first.cancel()
    disk.go.set()
    assert (await second).index == 1
    assert disk.size == 2


async def test_closing_stores_what_waits_and_signs_it(writer: Writer, disk: Disk, tmp_path: Path) -> None:  # E25
    disk.go.clear()
    waiting = [writer.submit(entry()) for _ in range(20)]
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        writer.submit(entry())
    disk.go.set()
    assert await closing is True
    assert sorted(receipt.index for receipt in await asyncio.gather(*waiting)) == list(range(20))
    assert (tmp_path / "checkpoint").read_text().startswith(f"{ORIGIN}\n20\n")


async def test_closing_on_a_hung_disk_ends_in_time(
    disk: Disk, observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_CHECKPOINT_SECONDS", 0.1)
    writer = Writer(disk, ORIGIN, RealClock(), observer, WATCHDOG)
    disk.go.clear()
    waiting = writer.submit(entry())
    assert await writer.close() is False
    with pytest.raises(Unavailable):
        await waiting
    disk.go.set()
    await until(lambda: not writer._worker.is_alive())


async def test_a_checkpoint_is_signed_every_second(
    disk: Disk, observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writer_module, "_CHECKPOINT_SECONDS", 0.05)
    writer = Writer(disk, ORIGIN, RealClock(), observer, WATCHDOG)
    await writer.submit(entry())
    await until(lambda: not disk.unsigned)
    assert (tmp_path / "checkpoint").read_text().startswith(f"{ORIGIN}\n1\n")
    await writer.close()


async def test_commits_are_observed(writer: Writer, observer: RecordingObserver) -> None:
    await writer.submit(entry())
    (fields,) = observer.named("evidence_commit")
    assert fields["records"] == 1
    assert fields["seconds"] > 0
