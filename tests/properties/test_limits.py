"""Rates hold in every window, and the breaker lets one probe out, whatever the order of events."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.rules.limits import CLOSED, HALF_OPEN, OPEN, Breaker, gcra

gaps = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 3.0)), min_size=1, max_size=120)


@given(gaps, st.floats(0.1, 1000.0), st.integers(1, 50), st.floats(0.0, 1e7))
@example([0.0] * 60 + [0.999] + [0.0] * 60, 60.0, 60, 1e6)  # the edge of a fixed window
def test_l03_no_window_passes_more_than_its_burst_and_rate(
    steps: list[float], rate: float, burst: int, start: float
) -> None:
    tat, now, passed = 0.0, start, []
    for step in steps:
        now += step
        tat, wait = gcra(tat, now, rate, burst)
        if wait is None:
            passed.append(now)
        else:
            assert wait > 0
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - since) + 1e-6 * rate + 1e-6


@given(gaps, st.floats(0.1, 100.0), st.integers(1, 10))
def test_a_caller_who_waits_as_told_is_served(steps: list[float], rate: float, burst: int) -> None:
    tat, now = 0.0, 1000.0
    for step in steps:
        now += step
        tat, wait = gcra(tat, now, rate, burst)
        if wait is not None:
            assert wait <= 1.0 / rate + 1e-6
            now += wait
            tat, wait = gcra(tat, now, rate, burst)
            assert wait is None


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=60), st.floats(0.1, 100.0), st.integers(1, 10))
def test_l05_a_clock_that_jumps_back_never_adds_to_the_burst(times: list[float], rate: float, burst: int) -> None:
    tat, latest, passed = 0.0, 0.0, 0
    for now in times:
        tat, wait = gcra(tat, now, rate, burst)
        latest = max(latest, now)
        passed += wait is None
    assert passed <= burst + rate * latest + 1e-3


@given(st.lists(st.sampled_from(["admit", "succeed", "fail", "release", "wait"]), max_size=80))
def test_one_probe_at_a_time(happenings: list[str]) -> None:
    breaker, now, probes = Breaker(), 0.0, 0
    for happening in happenings:
        if happening == "admit":
            admitted = breaker.admits(now, 10.0)
            if breaker.state == OPEN:
                assert not admitted
            elif breaker.state == HALF_OPEN and admitted:
                probes += 1
                assert probes == 1
        elif happening == "succeed":
            breaker.succeeded()
        elif happening == "fail":
            breaker.failed(now, 2)
        elif happening == "release":
            breaker.released()
            probes = 0
        else:
            now += 10.0
            probes = 0  # a probe not heard of for so long may be replaced
        if breaker.state != HALF_OPEN:
            probes = 0
    assert breaker.state in {CLOSED, OPEN, HALF_OPEN}
