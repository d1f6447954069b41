"""INV-7: no effect without evidence. The fakes share one journal, so that the order of things is what is tested."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.errors import Unavailable, UpstreamFailure
from sidecar.model.evidence import Leaf
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import allowing, changed, code, in_flight, set_stage


async def test_inv_7_intent_then_secret_then_effect_then_outcome_then_answer() -> None:
    stage = set_stage()
    outcome = await stage.handle()
    stage.journal.append("answer released")
    assert stage.journal == [
        "ask",
        "intent begins",
        "intent durable",
        "secret",
        "send",
        "outcome begins",
        "outcome durable",
        "answer released",
    ]
    assert outcome.evidence_id == "acme-00000000/1"


async def test_inv_7_retries_stand_between_one_intent_and_one_outcome() -> None:
    reset = UpstreamFailure("upstream_unavailable", "Reset.", sent=True)
    stage = set_stage(None, reset, answered())
    await stage.handle()
    assert stage.journal[1:] == [
        *("intent begins", "intent durable", "secret", "send", "send", "outcome begins", "outcome durable"),
    ]


async def test_inv_7_a_stream_has_a_durable_record_before_each_window_and_its_outcome_before_the_end() -> None:
    stage = set_stage(None, answered(Pieces(b"one", b"two")))
    outcome = await stage.handle(connector="crm", operation="watch", parameters=None)
    assert not isinstance(outcome.body, bytes)
    stage.journal.append("head released")
    async for piece in outcome.body:
        stage.journal.append(f"{piece.decode()} released")
        stage.clock.advance(1.0)
    stage.journal.append("end released")
    assert stage.journal[4:] == [
        "send",
        "chunk begins",
        "chunk durable",
        "head released",
        "one released",
        "chunk begins",
        "chunk durable",
        "two released",
        "outcome begins",
        "outcome durable",
        "end released",
    ]


FAILURES: list[Exception] = [
    Unavailable("evidence_unavailable", "The disk is full."),
    OSError(28, "No space left on device"),
    ValueError("no such kind of leaf"),
]


@pytest.mark.parametrize("failure", FAILURES)
async def test_inv_7_without_an_intent_nothing_is_resolved_and_nothing_sent(failure: Exception) -> None:
    stage = set_stage()
    stage.evidence.breaks = failure
    outcome = await stage.handle()
    assert code(outcome) == "evidence_unavailable"
    assert (outcome.status, outcome.evidence_id) == (503, None)
    assert "secret" not in stage.journal
    assert "send" not in stage.journal
    assert in_flight(stage) == 0


async def test_inv_7_a_log_that_refuses_intents_only_stops_every_call() -> None:
    """A full disk still takes the outcomes of calls in flight, and no call begins (E05)."""
    stage = set_stage()
    stage.evidence.full = True
    assert code(await stage.handle()) == "evidence_unavailable"
    assert "send" not in stage.journal


@pytest.mark.parametrize("refuses", ["outcome", "everything later"])
async def test_inv_7_an_answer_without_its_outcome_is_withheld(refuses: str) -> None:
    stage = set_stage(None, answered(b"the answer", 200, [(b"etag", b"the answer")]))
    if refuses == "outcome":
        stage.evidence.refuses.add("outcome")
    else:

        def vanish() -> None:
            stage.evidence.available = False

        stage.caller.before = vanish
    outcome = await stage.handle()
    assert code(outcome) == "evidence_unavailable"
    assert (outcome.status, outcome.evidence_id) == (503, None)
    assert (outcome.body, outcome.headers) == (b"", ())
    assert "the answer" not in repr(outcome)
    assert len(stage.caller.calls) == 1


@pytest.mark.parametrize("failure", FAILURES)
async def test_inv_7_a_refusal_that_cannot_be_recorded_is_answered_as_that(failure: Exception) -> None:
    stage = set_stage(rule=None)
    stage.evidence.breaks = failure
    outcome = await stage.handle()
    assert code(outcome) == "evidence_unavailable"
    assert (outcome.status, outcome.evidence_id) == (503, None)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ({"script": [UpstreamFailure("upstream_timeout", "Slow.", sent=True)] * 9}, "upstream_timeout"),
        ({"script": [answered(b"x", headers=[(b"content-encoding", b"br")])]}, "answer_withheld"),
        ({"rule": allowing(mask=["/a"]), "script": [answered(b"<html>")]}, "answer_withheld"),
        ({"missing": True}, "credential_unavailable"),
    ],
)
async def test_inv_7_what_goes_wrong_after_the_intent_is_its_outcome(spoil: dict[str, Any], expected: str) -> None:
    stage = set_stage(
        changed("connectors.crm.retry.attempts", 1), *spoil.get("script", ()), rule=spoil.get("rule", allowing())
    )
    if "missing" in spoil:
        stage.credentials.delete("crm")
    outcome = await stage.handle()
    assert code(outcome) == expected
    intent, result = stage.evidence.leaves
    assert (intent.kind, result.kind, result.intent, result.code) == ("intent", "outcome", intent.index, expected)
    assert outcome.evidence_id == f"acme-00000000/{result.index}"


async def test_inv_7_every_intent_has_exactly_one_outcome_over_many_calls() -> None:
    reset = UpstreamFailure("upstream_unavailable", "Reset.", sent=True)
    config = changed("connectors.crm.retry.attempts", 1)
    stage = set_stage(config, answered(), reset, answered(b"x", headers=[(b"content-encoding", b"br")]), answered())
    for _ in range(8):
        await stage.handle()
    intents = [leaf.index for leaf in stage.evidence.leaves if leaf.kind == "intent"]
    outcomes = [leaf.intent for leaf in stage.evidence.leaves if leaf.kind == "outcome"]
    assert intents == outcomes
    assert len(intents) == 8


async def test_inv_7_the_callers_record_is_the_one_that_says_what_happened() -> None:
    seen: list[Leaf] = []
    stage = set_stage()
    stage.evidence.before = seen.append
    outcome = await stage.handle()
    assert [leaf.kind for leaf in seen] == ["intent", "outcome"]
    assert outcome.evidence_id is not None
    index = int(outcome.evidence_id.rpartition("/")[2])
    assert stage.evidence.leaves[index].kind == "outcome"
