"""Callers who are not known, and what never became a call."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused, Unavailable
from sidecar.pipeline.flood import SINGLY
from sidecar.pipeline.reception import record_counted, turn_away
from tests.fakes.parts import code, denying, set_stage

# Callers who are not known


async def test_refusals_of_an_unknown_peer_are_recorded_singly_then_counted() -> None:
    stage = set_stage()
    outcomes = [await stage.handle(None, peer="10.9.9.9:1") for _ in range(SINGLY + 15)]
    assert {code(outcome) for outcome in outcomes} == {"unauthenticated"}
    assert [outcome.evidence_id is not None for outcome in outcomes] == [True] * SINGLY + [False] * 15
    assert all(outcome.problem and outcome.problem.evidence_id == outcome.evidence_id for outcome in outcomes)
    assert len(stage.evidence.leaves) == SINGLY
    await record_counted(stage.parts, lambda: "counted-1")
    counted = stage.evidence.leaves[-1]
    assert (counted.kind, counted.count, counted.peer, counted.code) == ("refusal", 15, "10.9.9.9", "unauthenticated")
    await record_counted(stage.parts, lambda: "counted-2")
    assert len(stage.evidence.leaves) == SINGLY + 1


async def test_a_count_that_cannot_be_recorded_is_kept() -> None:
    stage = set_stage()
    for _ in range(SINGLY + 3):
        await stage.handle(None)
    stage.evidence.available = False
    with pytest.raises(Unavailable):
        await record_counted(stage.parts, lambda: "c")
    stage.evidence.available = True
    await record_counted(stage.parts, lambda: "c")
    assert stage.evidence.leaves[-1].count == 3


async def test_refusals_of_a_known_caller_are_always_recorded() -> None:
    stage = set_stage(rule=denying())
    for _ in range(SINGLY * 5):
        assert (await stage.handle()).evidence_id is not None
    assert len(stage.evidence.leaves) == SINGLY * 5


# Turned away at the door


@pytest.mark.parametrize("name", [None, "alice", "stranger"])
@pytest.mark.parametrize("refused", ["invalid_json", "not_found", "unsupported_media_type", "body_too_large"])
async def test_an_unknown_caller_learns_only_that(name: str | None, refused: str) -> None:
    stage = set_stage()
    expected = {None: "unauthenticated", "alice": refused, "stranger": "tenant_mismatch"}[name]
    assert code(await turn_away(stage.parts, stage.call(name), Refused(refused, "No."))) == expected
    assert stage.kinds == ["refusal"]
    assert stage.evidence.leaves[0].principal == name


@pytest.mark.parametrize("refused", ["malformed", "headers_too_large", "unsupported_version", "request_timeout"])
async def test_bytes_without_a_head_are_refused_for_what_they_are_and_recorded(refused: str) -> None:
    stage = set_stage()
    assert code(await turn_away(stage.parts, stage.call(None), Refused(refused, "No."))) == refused
    assert stage.evidence.leaves[0].code == refused


async def test_floods_of_malformed_bytes_are_counted_too() -> None:
    stage = set_stage()
    for _ in range(SINGLY + 5):
        await turn_away(stage.parts, stage.call(None), Refused("malformed", "No."))
    assert len(stage.evidence.leaves) == SINGLY


async def test_a_refusal_keeps_when_to_come_back() -> None:
    stage = set_stage()
    outcome = await turn_away(stage.parts, stage.call(), Refused("rate_limited", "No.", retry_after=3.0))
    assert outcome.retry_after == 3.0
