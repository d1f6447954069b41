"""What every counter promises: GCRA's answer, key by key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.adapters.counting import LocalCounter
from sidecar.ports import Counter
from tests.fakes.clock import HeldClock
from tests.fakes.counter import BucketCounter

Make = Callable[[HeldClock], Counter]


@pytest.fixture(params=[LocalCounter, BucketCounter])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


async def test_a_burst_then_the_rate(make: Make) -> None:
    clock = HeldClock()
    counter = make(clock)
    assert [await counter.take("k", 10.0, 3) for _ in range(3)] == [None, None, None]
    wait = await counter.take("k", 10.0, 3)
    assert wait == pytest.approx(0.1)
    clock.advance(0.1)
    assert await counter.take("k", 10.0, 3) is None
    assert await counter.take("k", 10.0, 3) is not None


async def test_keys_do_not_share(make: Make) -> None:
    counter = make(HeldClock())
    assert await counter.take("a", 1.0, 1) is None
    assert await counter.take("a", 1.0, 1) is not None
    assert await counter.take("b", 1.0, 1) is None


async def test_being_refused_costs_nothing(make: Make) -> None:
    clock = HeldClock()
    counter = make(clock)
    assert await counter.take("k", 1.0, 1) is None
    for _ in range(50):
        assert await counter.take("k", 1.0, 1) is not None
    clock.advance(1.0)
    assert await counter.take("k", 1.0, 1) is None


async def test_a_rate_that_was_raised_holds_from_the_next_call_on(make: Make) -> None:
    clock = HeldClock()
    counter = make(clock)
    for _ in range(10):
        assert await counter.take("k", 10 / 3600, 10) is None
    assert await counter.take("k", 10 / 3600, 10) == pytest.approx(360.0)
    for _ in range(3):
        wait = await counter.take("k", 100.0, 10)
        assert wait is not None
        assert wait <= 0.1 + 1e-9
    clock.advance(0.1)
    assert await counter.take("k", 100.0, 10) is None


async def test_idle_time_saves_up_one_burst_only(make: Make) -> None:
    clock = HeldClock()
    counter = make(clock)
    assert await counter.take("k", 5.0, 2) is None
    clock.advance(3600.0)
    taken = [await counter.take("k", 5.0, 2) is None for _ in range(5)]
    assert taken == [True, True, False, False, False]


async def test_l03_the_edge_of_a_window_gives_no_second_burst(make: Make) -> None:
    clock = HeldClock()
    counter = make(clock)
    passed = 0
    clock.advance(59.9)
    for _ in range(120):
        passed += await counter.take("k", 1.0, 60) is None
    clock.advance(0.2)
    for _ in range(120):
        passed += await counter.take("k", 1.0, 60) is None
    assert passed <= 61
