"""The disk side of the log: what each condition takes, and how it is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.adapters.evidence import segments
from sidecar.adapters.evidence.appender import Appender, Condition, Entry
from sidecar.adapters.evidence.disk import Reserve, SyncFailedError
from sidecar.adapters.evidence.keys import TenantKey
from sidecar.adapters.evidence.records import Recorder
from sidecar.adapters.evidence.recovery import State
from sidecar.model.evidence import Leaf
from sidecar.rules.notes import Signer
from sidecar.rules.tree import Frontier
from tests.evidence import a_leaf

ORIGIN = "acme-00112233"
INTENT, OUTCOME, REFUSAL = a_leaf(), a_leaf("outcome", intent=0), a_leaf("refusal")


@pytest.fixture
def appender(tmp_path: Path) -> Iterator[Appender]:
    state = State(-1, 0, 0, None, Frontier(), {}, 0, {}, 0)
    recorder = Recorder(ORIGIN, TenantKey(b"k" * 32))
    signer = Signer(ORIGIN, b"s" * 32)
    made = Appender(tmp_path, state, signer, recorder, Reserve(tmp_path, 1 << 16), 1 << 16, 0)
    yield made
    made.close()


def entry(leaf: Leaf = INTENT, time: int = 1) -> Entry:
    return Entry(leaf, time, None)


def failing(number: int, when: Callable[[], bool] = lambda: True) -> Callable[[int, bytes, int], int]:
    whole = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if when():
            raise OSError(number, os.strerror(number))
        return whole(descriptor, data, offset)

    return pwrite


def commit(appender: Appender, entries: list[Entry]) -> list[int | None]:
    """What the writer does with a batch."""
    if appender.grown:
        appender.rotate()
    return appender.settle(appender.write(appender.prepare(entries)))


def condition(appender: Appender) -> Condition:
    return appender.condition


def is_unsigned(appender: Appender) -> bool:
    return appender.unsigned


def names(appender: Appender) -> list[str]:
    return [name for name, _ in appender.events]


def test_indices_are_given_in_order_and_only_to_what_is_durable(appender: Appender) -> None:
    assert commit(appender, [entry(), entry(OUTCOME)]) == [0, 1]
    assert commit(appender, [entry()]) == [2]
    assert appender.size == 3


def test_a_leaf_that_is_no_json_does_not_stop_the_others(appender: Appender) -> None:
    broken = a_leaf(obligations={"a": object()})
    assert commit(appender, [entry(), entry(broken), entry(OUTCOME)]) == [0, None, 1]
    assert names(appender) == ["evidence_unencodable"]


def test_a_clock_that_goes_back_is_flagged_once_and_order_stays(appender: Appender, tmp_path: Path) -> None:  # E15
    commit(appender, [entry(time=100), entry(time=40), entry(time=50), entry(time=101), entry(time=90)])
    assert appender.events == [
        ("evidence_clock_back", {"microseconds": 60}),
        ("evidence_clock_back", {"microseconds": 11}),
    ]
    data = segments.segments(tmp_path)[0].path.read_bytes()
    times = [int(part.partition(b",")[0]) for part in data.split(b'"time":')[2:]]
    assert times == [100, 100, 100, 101, 101]


def test_a_full_disk_gives_up_the_reserve_for_what_is_owed(
    appender: Appender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # E05
    reserve = tmp_path / "reserve"
    assert commit(appender, [entry()]) == [0]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC, reserve.exists))
        assert commit(appender, [entry(), entry(OUTCOME), entry(REFUSAL)]) == [None, 1, None]
    assert condition(appender) is Condition.FULL
    assert not reserve.exists()
    assert commit(appender, [entry(), entry(a_leaf("refusal", intent=0)), entry(a_leaf("chunk", intent=0))]) == [
        None,
        2,
        3,
    ]
    appender.probe()
    assert condition(appender) is Condition.OPEN
    assert commit(appender, [entry()]) == [4]
    assert names(appender) == ["evidence_full", "evidence_recovered"]


def test_what_does_not_fit_even_then_is_said_and_leaves_nothing(
    appender: Appender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = segments.segments(tmp_path)[0].path
    before = path.stat().st_size
    whole = os.pwrite
    with monkeypatch.context() as patch:
        taken: list[int] = []

        def half(descriptor: int, data: bytes, offset: int) -> int:
            if len(taken) % 2:
                taken.append(0)
                raise OSError(errno.ENOSPC, "No space left on device")
            taken.append(whole(descriptor, data[: len(data) // 2], offset))
            return taken[-1]

        patch.setattr(os, "pwrite", half)
        assert commit(appender, [entry(), entry(OUTCOME)]) == [None, None]
    assert path.stat().st_size == before
    assert condition(appender) is Condition.FULL
    assert appender.size == 0


def test_a_disk_without_room_for_the_reserve_stays_full(appender: Appender, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.EDQUOT))
        commit(appender, [entry()])
    with monkeypatch.context() as patch:

        def full(_descriptor: int, _offset: int, _length: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "posix_fallocate", full)
        appender.probe()
        assert condition(appender) is Condition.FULL
    appender.probe()
    assert condition(appender) is Condition.OPEN


def test_a_read_only_disk_takes_nothing_until_it_can_be_opened_again(
    appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:  # E09
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.EROFS))
        assert commit(appender, [entry(), entry(OUTCOME)]) == [None, None]
    assert condition(appender) is Condition.READ_ONLY
    assert commit(appender, [entry(OUTCOME)]) == [None]
    with monkeypatch.context() as patch:

        def read_only(*_: object) -> int:
            raise OSError(errno.EROFS, "Read-only file system")

        patch.setattr(os, "open", read_only)
        appender.probe()
        assert condition(appender) is Condition.READ_ONLY
    appender.probe()
    assert condition(appender) is Condition.OPEN
    assert commit(appender, [entry()]) == [0]


def test_any_other_failed_write_and_any_failed_sync_are_the_end(
    appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:  # E06
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            commit(appender, [entry()])

    def no_room_to_sync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", no_room_to_sync)
        with pytest.raises(SyncFailedError):
            commit(appender, [entry()])
    appender.fail("a sync failed")
    appender.fail("again")
    appender.probe()
    assert condition(appender) is Condition.FAILED
    assert names(appender) == ["evidence_failed"]


def test_a_segment_that_cannot_be_begun_lets_the_old_one_grow(
    appender: Appender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 2)
    commit(appender, [entry(), entry()])
    with monkeypatch.context() as patch:

        def no_descriptors(*_: object) -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(segments, "create", no_descriptors)
        assert commit(appender, [entry()]) == [2]
    assert names(appender) == ["evidence_rotation_failed"]
    assert commit(appender, [entry()]) == [3]
    assert [each.first for each in segments.segments(tmp_path)] == [0, 3]


def test_a_checkpoint_without_room_waits(appender: Appender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appender.checkpoint()
    assert not (tmp_path / "checkpoint").exists()
    commit(appender, [entry()])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC))
        appender.checkpoint()
    assert is_unsigned(appender)
    appender.checkpoint()
    assert not is_unsigned(appender)
    assert (tmp_path / "checkpoint").read_text().startswith(f"{ORIGIN}\n1\n")


def test_a_log_that_starts_on_a_full_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    state = State(-1, 0, 0, None, Frontier(), {}, 0, {}, 0)
    recorder = Recorder(ORIGIN, TenantKey(b"k" * 32))
    made = Appender(tmp_path, state, Signer(ORIGIN, b"s" * 32), recorder, Reserve(tmp_path, 1 << 16), 1 << 16, 0)
    assert made.condition is Condition.FULL
    made.close()
