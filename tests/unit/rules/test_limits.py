from __future__ import annotations

import pytest

from sidecar.config.sections import Retry
from sidecar.errors import UpstreamFailure
from sidecar.rules.limits import CLOSED, HALF_OPEN, OPEN, TRANSITIONS, Breaker, RetryBudget, gcra, retry_pause

SENT = UpstreamFailure("upstream_unavailable", "reset", sent=True)
UNSENT = UpstreamFailure("upstream_unavailable", "refused", sent=False)


def test_a_burst_passes_at_once_and_then_the_rate() -> None:
    tat, now = 0.0, 1000.0
    for _ in range(3):
        tat, wait = gcra(tat, now, 2.0, 3)
        assert wait is None
    unchanged, wait = gcra(tat, now, 2.0, 3)
    assert unchanged == tat
    assert wait == pytest.approx(0.5)
    tat, wait = gcra(tat, now + 0.5, 2.0, 3)
    assert wait is None
    assert gcra(tat, now + 0.5, 2.0, 3)[1] == pytest.approx(0.5)


def test_the_burst_is_whole_again_after_a_pause_and_never_more() -> None:
    tat, passed = 0.0, 0
    for _ in range(10):
        tat, wait = gcra(tat, 1_000_000.0, 1.0, 4)
        passed += wait is None
    assert passed == 4


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    tat, wait = gcra(0.0, 1000.0, 1.0, 1)
    assert wait is None
    assert gcra(tat, 500.0, 1.0, 1) == pytest.approx((501.0, 1.0))


def test_waiting_as_told_is_enough_at_any_clock_value() -> None:
    for base in (0.0, 1e5, 1e9):
        tat, now = 0.0, base
        for _ in range(100):
            tat, wait = gcra(tat, now, 3.0, 1)
            if wait is not None:
                now += wait
                tat, wait = gcra(tat, now, 3.0, 1)
            assert wait is None


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        assert breaker.admits(0.0, 10.0)
        breaker.failed(0.0, 3)
    assert breaker.state == OPEN
    return breaker


def test_failures_in_a_row_open_the_circuit() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker.failed(0.0, 3)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0, 3)
    assert breaker.state == CLOSED
    breaker.failed(0.0, 3)
    assert breaker.state == OPEN
    assert not breaker.admits(9.9, 10.0)
    assert breaker.wait(4.0, 10.0) == pytest.approx(6.0)
    assert Breaker().wait(4.0, 10.0) == 0.0


def test_one_probe_goes_out_and_closes_the_circuit() -> None:
    breaker = opened()
    assert breaker.admits(10.0, 10.0)
    assert breaker.state == HALF_OPEN
    assert not breaker.admits(10.0, 10.0)
    assert not breaker.admits(19.9, 10.0)
    breaker.succeeded()
    assert breaker.state == CLOSED
    assert breaker.admits(10.0, 10.0)
    breaker.failed(10.0, 3)
    assert breaker.state == CLOSED  # what was counted before the circuit opened is forgotten


def test_one_probe_goes_out_and_opens_the_circuit_again() -> None:
    breaker = opened()
    assert breaker.admits(10.0, 10.0)
    breaker.failed(11.0, 3)
    assert breaker.state == OPEN
    assert not breaker.admits(20.9, 10.0)
    assert breaker.admits(21.0, 10.0)


def test_a_probe_that_is_never_heard_of_is_replaced() -> None:
    breaker = opened()
    assert breaker.admits(10.0, 10.0)
    assert not breaker.admits(19.0, 10.0)
    assert breaker.admits(20.0, 10.0)
    assert not breaker.admits(20.0, 10.0)


def test_a_probe_that_was_not_sent_is_given_back() -> None:
    breaker = opened()
    assert breaker.admits(10.0, 10.0)
    breaker.released()
    assert breaker.admits(10.0, 10.0)
    assert not breaker.admits(10.0, 10.0)


def test_late_answers_of_earlier_calls_do_not_move_an_open_circuit() -> None:
    breaker = opened()
    breaker.succeeded()
    breaker.released()
    assert not breaker.admits(9.0, 10.0)
    for _ in range(5):
        breaker.failed(9.0, 3)
    assert breaker.state == OPEN
    assert breaker.admits(10.0, 10.0)


def test_every_transition_is_between_the_three_states() -> None:
    assert {state for state, _ in TRANSITIONS} == {CLOSED, OPEN, HALF_OPEN} == set(TRANSITIONS.values())


@pytest.mark.parametrize(
    ("attempt", "failure", "idempotent", "pause"),
    [
        (1, SENT, True, 0.05),
        (2, SENT, True, 0.1),
        (3, SENT, True, None),
        (1, UNSENT, False, 0.05),
        (1, SENT, False, None),
        (3, UNSENT, False, None),
    ],
)
def test_only_what_may_arrive_twice_is_sent_again(
    attempt: int, failure: UpstreamFailure, idempotent: bool, pause: float | None
) -> None:
    assert retry_pause(Retry(attempts=3, backoff_seconds=0.1), attempt, failure, idempotent, 0.5) == pause


def test_jitter_is_full() -> None:
    retry = Retry(attempts=5, backoff_seconds=0.2)
    assert retry_pause(retry, 3, SENT, True, 0.0) == 0.0
    assert retry_pause(retry, 3, SENT, True, 0.999) == pytest.approx(0.8, abs=0.001)


def test_retries_stay_a_share_of_the_calls() -> None:
    budget = RetryBudget(share=0.1, reserve=5.0)
    retries = 0
    for _ in range(1000):
        budget.called()
        retries += budget.take()
    assert 100 <= retries <= 105
    for _ in range(1000):
        budget.called()
    assert sum(budget.take() for _ in range(100)) == 5
