"""What every clock promises."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.adapters.clock import SystemClock
from sidecar.ports import Clock
from tests.fakes.clock import HeldClock

CENTURY_21 = range(946_684_800_000_000, 4_102_444_800_000_000)  # microseconds


@pytest.fixture(params=[SystemClock, HeldClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


def test_now_is_in_microseconds(clock: Clock) -> None:
    assert clock.now() in CENTURY_21


def test_the_monotonic_clock_never_goes_back(clock: Clock) -> None:
    seen = [clock.monotonic() for _ in range(100)]
    assert seen == sorted(seen)
    assert seen[0] >= 0.0


async def test_a_pause_takes_its_time_on_the_monotonic_clock(clock: Clock) -> None:
    before = clock.monotonic()
    await clock.pause(0.02)
    assert clock.monotonic() - before >= 0.0199


async def test_others_run_during_a_pause(clock: Clock) -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    task = asyncio.ensure_future(other())
    await clock.pause(0.001)
    assert ran == ["other"]
    await task
