"""Calls whose decision is known: the policy is not asked, and nothing else is left out."""

from __future__ import annotations

import json

import pytest

from sidecar.model.decision import Reads
from sidecar.pipeline.decisions import DecisionCache
from tests.fakes.parts import REVISION, Stage, allowing, code, denying, set_stage
from tests.fakes.policy import FakeEngine, Rule

READS = Reads(REVISION, (("input", "parameters", "id"), ("input", "principal", "id")), ())


class Knowing(FakeEngine):
    """An engine that knows what its policy reads."""

    reads: Reads | None = READS


def staged(rule: Rule) -> tuple[Stage, Knowing]:
    engine = Knowing(rule, REVISION)
    return set_stage(engine=engine, decisions=DecisionCache(engine, 10)), engine


def own_id(document: bytes) -> bytes | None:
    """Allows, to the principal alone, the item of its own name; a policy for which more than one thing is read."""
    asked = json.loads(document)
    allow = asked["parameters"]["id"] == asked["principal"]["id"]
    return json.dumps({"allow": allow, "reasons": [], "obligations": {}}).encode()


async def test_inv_7_a_repeated_decision_leaves_the_same_evidence() -> None:
    stage, engine = staged(allowing())
    for page in range(1, 4):
        assert (await stage.handle(parameters={"id": "7", "page": page})).status == 200
    assert len(engine.documents) == 1
    assert len(stage.caller.calls) == 3
    assert stage.kinds == ["intent", "outcome"] * 3
    assert {leaf.bundle for leaf in stage.evidence.leaves} == {REVISION}
    assert [leaf.decision for leaf in stage.evidence.leaves if leaf.kind == "intent"] == [True] * 3
    assert len({leaf.input_hash for leaf in stage.evidence.leaves if leaf.kind == "intent"}) == 3


async def test_a_repeated_denial_is_a_denial_with_its_reasons() -> None:
    stage, engine = staged(denying(("embargo", "This topic is under embargo.")))
    for _ in range(3):
        outcome = await stage.handle()
        assert code(outcome) == "denied"
        assert outcome.problem is not None
        assert [reason["code"] for reason in outcome.problem.reasons] == ["embargo"]
    assert len(engine.documents) == 1
    assert stage.kinds == ["refusal"] * 3
    assert stage.caller.calls == []


async def test_inv_3_one_principals_allow_is_not_anothers() -> None:
    stage, engine = staged(own_id)
    for name, item, status in (("alice", "alice", 200), ("bob", "alice", 403), ("alice", "bob", 403)) * 2:
        assert (await stage.handle(name, parameters={"id": item})).status == status
    assert len(engine.documents) == 3


@pytest.mark.parametrize("answer", [None, b'{"allow": "yes", "reasons": [], "obligations": {}}'])
async def test_inv_3_what_is_no_decision_denies_again(answer: bytes | None) -> None:
    stage, _ = staged(lambda _: answer)
    assert [code(await stage.handle()) for _ in range(3)] == ["policy_unavailable"] * 3
    assert stage.caller.calls == []


async def test_inv_3_a_failure_is_never_kept() -> None:
    failing = [True, False, True]

    def rule(document: bytes) -> bytes | None:
        if failing.pop(0):
            raise ValueError("no answer")
        return allowing()(document)

    stage, engine = staged(rule)
    assert code(await stage.handle()) == "policy_unavailable"
    assert (await stage.handle()).status == 200
    assert (await stage.handle()).status == 200, "known by now"
    assert len(engine.documents) == 2, "once in vain, once for good"


async def test_p07_another_policy_is_asked_at_once() -> None:
    stage, engine = staged(allowing())
    assert (await stage.handle()).status == 200
    engine.reads = Reads("sha256:" + "1" * 64, READS.paths, ())
    engine._rule, engine._revision = denying(), "sha256:" + "1" * 64
    assert code(await stage.handle()) == "denied"
    assert code(await stage.handle()) == "denied"
    assert len(engine.documents) == 2
