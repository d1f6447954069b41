"""What evidence tests share: a real clock, leaves, and logs small enough to rotate."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.evidence.log import SegmentLog
from sidecar.model.evidence import Leaf
from sidecar.ports import Clock, Observer
from tests.fakes.observer import RecordingObserver

RESERVE = 1 << 16


class RealClock:
    """The machine's time, moved by ``offset`` microseconds."""

    def __init__(self) -> None:
        self.offset = 0

    def now(self) -> int:
        return time.time_ns() // 1000 + self.offset

    def monotonic(self) -> float:
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def a_leaf(kind: str = "intent", **fields: Any) -> Leaf:
    """A leaf as the pipeline hands it in: without a place."""
    given: dict[str, Any] = {"call_id": "call-1", "tenant": "acme", "principal": "agent-1", "surface": "access"}
    return Leaf(**{"v": 1, "kind": kind, "origin": "", "index": -1, "time": 0, **given, **fields})


def open_log(
    directory: Path,
    *,
    tenant: str = "acme",
    segment_bytes: int = 1 << 16,
    clock: Clock | None = None,
    observer: Observer | None = None,
    watchdog_seconds: float = 2.0,
) -> SegmentLog:
    """A log with a small reserve; quiet unless an observer is given."""
    return SegmentLog.open(
        directory,
        tenant,
        segment_bytes=segment_bytes,
        reserve_bytes=RESERVE,
        clock=clock or RealClock(),
        observer=observer or RecordingObserver(),
        watchdog_seconds=watchdog_seconds,
    )


async def append_calls(log: SegmentLog, count: int, size: int = 50) -> None:
    """``count`` intents with a document of ``size`` bytes, each with its outcome."""
    for number in range(count):
        call = f"call-{number}"
        intent = await log.append(a_leaf(call_id=call), b"d" * size)
        await log.append(a_leaf("outcome", call_id=call, intent=intent.index))


async def write_calls(directory: Path, count: int, **options: Any) -> SegmentLog:
    """A closed log of ``count`` calls in ``directory``."""
    log = open_log(directory, **options)
    await append_calls(log, count)
    await log.close()
    return log


def steps_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What makes bytes or a name durable from now on, in order: ``fdatasync``, ``fsync`` or ``replace``."""
    done: list[str] = []

    def note(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def noted(*arguments: object) -> object:
            done.append(name)
            return real(*arguments)

        monkeypatch.setattr(owner, name, noted)

    note(os, "fdatasync")
    note(Path, "replace")
    note(os, "fsync")
    return done


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait, bounded, for ``condition``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come about in time"
        await asyncio.sleep(0.01)
