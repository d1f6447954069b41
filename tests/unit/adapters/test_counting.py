from __future__ import annotations

from sidecar.adapters.counting import LocalCounter
from tests.fakes.clock import HeldClock


async def test_keys_that_have_recovered_are_forgotten() -> None:
    clock = HeldClock()
    counter = LocalCounter(clock)
    for number in range(5000):
        assert await counter.take(f"k{number}", 1000.0, 1) is None
        clock.advance(0.001)
    assert len(counter) <= 1024


async def test_keys_in_use_are_kept_up_to_the_limit_and_new_ones_wait() -> None:
    clock = HeldClock()
    counter = LocalCounter(clock, limit=8)
    for number in range(8):
        assert await counter.take(f"k{number}", 1.0, 1) is None
        clock.advance(0.01)
    wait = await counter.take("late", 1.0, 1)
    assert wait is not None
    assert wait > 0
    assert len(counter) == 8
    assert await counter.take("k0", 1.0, 1) is not None  # nobody's count was lost for it
    clock.advance(1.0)
    assert await counter.take("late", 1.0, 1) is None


async def test_a_flood_of_new_keys_does_not_reset_anyone() -> None:
    clock = HeldClock()
    counter = LocalCounter(clock, limit=16)
    assert await counter.take("victim", 0.001, 1) is None
    for number in range(1000):
        await counter.take(f"flood{number}", 1000.0, 1)
        clock.advance(0.01)
    assert await counter.take("victim", 0.001, 1) is not None
