"""What is sent again, what never is, and when nothing is sent at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.errors import UpstreamFailure
from tests.fakes.answers import answered
from tests.fakes.parts import Stage, allowing, changed, code, in_flight, raising, set_stage

ADD: dict[str, Any] = {"connector": "crm", "operation": "add", "parameters": {"item": 1}}
RESET = UpstreamFailure("upstream_unavailable", "The upstream closed the connection.", sent=True)
UNSENT = UpstreamFailure("upstream_unavailable", "The upstream refused the connection.", sent=False)


def retrying(attempts: int, *script: Any, **more: Any) -> Stage:
    config = changed("connectors.crm.retry", {"attempts": attempts, "backoff_seconds": 1.0})
    for path, value in more.items():
        config = changed(f"connectors.crm.{path}", value, config)
    return set_stage(config, *script)


async def test_a_get_is_tried_again_with_jitter_under_a_bound_that_doubles() -> None:
    stage = retrying(4, RESET, RESET, RESET, answered(b"at last"))
    outcome = await stage.handle()
    assert outcome.body == b"at last"
    assert len(stage.caller.calls) == 4
    assert all(pause <= bound for pause, bound in zip(stage.clock.pauses, (1.0, 2.0, 4.0), strict=True))
    assert len(set(stage.clock.pauses)) == 3
    assert stage.kinds == ["intent", "outcome"]
    assert len(stage.engine.documents) == 1


async def test_tries_are_bounded_and_the_last_failure_is_the_answer() -> None:
    stage = retrying(3, *[RESET] * 9)
    assert code(await stage.handle()) == "upstream_unavailable"
    assert len(stage.caller.calls) == 3


async def test_the_policys_time_is_for_all_tries_together() -> None:
    stage = retrying(5, *[RESET] * 9)
    stage.engine._rule = allowing(timeout_ms=3000)
    stage.caller.before = lambda: stage.clock.advance(1.0)
    assert code(await stage.handle()) == "upstream_unavailable"
    timeouts = [sent.request.timeout for sent in stage.caller.calls]
    assert timeouts[0] == 3.0
    assert len(timeouts) <= 3
    for before, pause, after in zip(timeouts, stage.clock.pauses, timeouts[1:], strict=False):
        assert before is not None
        assert after is not None
        assert after == pytest.approx(before - 1.0 - pause)
        assert after > 0


async def test_a_post_is_never_sent_twice() -> None:
    for code_sent in ("upstream_unavailable", "upstream_timeout", "upstream_invalid"):
        stage = retrying(5, *[UpstreamFailure(code_sent, "Gone.", sent=True)] * 9)
        assert code(await stage.handle(**ADD)) == code_sent
        assert len(stage.caller.calls) == 1


async def test_a_post_of_which_nothing_was_sent_may_be_tried_again() -> None:
    stage = retrying(3, UNSENT, answered())
    assert (await stage.handle(**ADD)).status == 200
    assert len(stage.caller.calls) == 2


async def test_no_try_after_one_that_may_have_arrived() -> None:
    stage = retrying(5, UNSENT, RESET, answered())
    assert code(await stage.handle(**ADD)) == "upstream_unavailable"
    assert len(stage.caller.calls) == 2


async def test_retries_are_held_to_a_share_of_the_calls() -> None:
    """L07: with every call failing, at most a tenth more than the calls reaches the upstream, and a small reserve."""
    stage = retrying(2, *[RESET] * 2000, breaker={"failures": 1_000_000})
    for _ in range(500):
        await stage.handle()
    assert 500 <= len(stage.caller.calls) <= 500 * 1.12 + 12


async def test_an_answer_that_is_too_large_is_no_failure_of_the_upstream() -> None:
    too_large = UpstreamFailure("answer_too_large", "It has more than 10 bytes.", sent=True)
    stage = retrying(3, *[too_large] * 9, breaker={"failures": 2})
    for _ in range(4):
        assert code(await stage.handle()) == "answer_too_large"
    assert len(stage.caller.calls) == 4
    assert stage.parts.traffic["crm"].is_closed


# The circuit


async def test_the_circuit_opens_sends_nothing_and_closes_after_a_good_probe() -> None:
    stage = retrying(1, *[RESET] * 3, answered(), breaker={"failures": 3, "open_seconds": 10.0})
    for _ in range(3):
        assert code(await stage.handle()) == "upstream_unavailable"
    for _ in range(5):
        assert code(await stage.handle()) == "circuit_open"
    assert len(stage.caller.calls) == 3
    stage.clock.advance(10.0)
    assert (await stage.handle()).status == 200
    assert (await stage.handle()).status == 200
    assert len(stage.caller.calls) == 5
    assert in_flight(stage) == 0


async def test_a_failed_probe_opens_the_circuit_again() -> None:
    stage = retrying(1, *[RESET] * 4, breaker={"failures": 3, "open_seconds": 10.0})
    for _ in range(3):
        await stage.handle()
    stage.clock.advance(10.0)
    assert code(await stage.handle()) == "upstream_unavailable"
    assert code(await stage.handle()) == "circuit_open"
    assert len(stage.caller.calls) == 4


async def test_only_one_probe_goes_out() -> None:
    stage = retrying(1, *[RESET] * 3, answered(), breaker={"failures": 3, "open_seconds": 10.0})
    for _ in range(3):
        await stage.handle()
    stage.clock.advance(10.0)
    stage.caller.holds = asyncio.Event()
    stage.caller.before = lambda: asyncio.get_running_loop().call_later(0.01, release.set)
    release = stage.caller.holds
    outcomes = await asyncio.gather(*(stage.handle() for _ in range(5)))
    assert len(stage.caller.calls) == 4
    assert sum(outcome.status == 200 for outcome in outcomes) == 1
    assert {code(outcome) for outcome in outcomes if outcome.problem} == {"circuit_open"}


async def test_a_probe_that_ends_by_our_own_fault_leaves_the_next_one_free() -> None:
    stage = retrying(1, *[RESET] * 3, raising(ValueError()), breaker={"failures": 3, "open_seconds": 10.0})
    for _ in range(3):
        await stage.handle()
    stage.clock.advance(10.0)
    assert code(await stage.handle()) == "internal_error"
    assert (await stage.handle()).status == 200


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_gateways_word_that_the_service_is_gone_counts(status: int) -> None:
    stage = retrying(3, *[answered(b"", status)] * 3, breaker={"failures": 3})
    for _ in range(3):
        assert (await stage.handle()).status == status
    assert code(await stage.handle()) == "circuit_open"
    assert len(stage.caller.calls) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 501])
async def test_any_other_status_does_not(status: int) -> None:
    stage = retrying(1, *[answered(b"", status)] * 9, breaker={"failures": 1})
    for _ in range(3):
        assert (await stage.handle()).status == status


async def test_a_call_that_opens_the_circuit_is_answered_with_its_own_failure() -> None:
    stage = retrying(5, *[RESET] * 9, breaker={"failures": 2})
    assert code(await stage.handle()) == "upstream_unavailable"
    assert len(stage.caller.calls) == 2


async def test_statistics_count_calls_and_errors() -> None:
    stage = retrying(1, RESET, answered())
    await stage.handle()
    await stage.handle()
    statistics = stage.parts.traffic["crm"].statistics()
    assert (statistics.calls, statistics.errors, statistics.last_error) == (2, 1, "upstream_unavailable")
    assert statistics.last_error_at == stage.clock.now()
