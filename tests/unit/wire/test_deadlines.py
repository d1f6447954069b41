"""One timer watches every deadline."""

from __future__ import annotations

import asyncio
from math import inf

from sidecar.wire.deadlines import Deadlines, Timeouts
from tests.fakes.upstream import until


class Member:
    def __init__(self, deadlines: Deadlines) -> None:
        self.deadline = inf
        self.expired: list[float] = []
        self._deadlines = deadlines
        deadlines.add(self)

    def due_in(self, seconds: float) -> None:
        self.deadline = asyncio.get_running_loop().time() + seconds
        self._deadlines.note(self.deadline)

    def expire(self) -> None:
        self.expired.append(asyncio.get_running_loop().time() - self.deadline)
        self.deadline = inf


async def test_each_expires_in_its_time_and_only_then() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    late, soon, never = Member(deadlines), Member(deadlines), Member(deadlines)
    late.due_in(0.08)
    soon.due_in(0.02)
    await until(lambda: bool(soon.expired))
    assert not late.expired
    await until(lambda: bool(late.expired))
    assert never.expired == []
    assert all(-0.002 < late_by < 0.5 for late_by in soon.expired + late.expired)
    assert deadlines.next == inf


async def test_a_deadline_that_moved_later_is_kept() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    moved, other = Member(deadlines), Member(deadlines)
    moved.due_in(0.02)
    other.due_in(0.04)
    moved.due_in(0.10)
    await until(lambda: bool(other.expired))
    assert not moved.expired
    await until(lambda: bool(moved.expired))


async def test_nothing_is_left_running() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    member = Member(deadlines)
    member.due_in(0.01)
    deadlines.discard(member)
    assert (len(deadlines), deadlines.next) == (0, inf)
    member.due_in(0.01)
    deadlines.close()
    assert deadlines.next == inf


def test_timeouts_are_a_value() -> None:
    assert Timeouts(connect=1) == Timeouts(connect=1.0)
    assert hash(Timeouts()) == hash(Timeouts())
