"""What a principal may call: only what policy allows, in one record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.pipeline.reception import offer
from tests.fakes.parts import allowing, code, decision, set_stage


def offering(**obligations: Any) -> Any:
    """A policy that allows ``get`` and denies the rest."""

    def rule(asked: bytes) -> bytes:
        return decision(json.loads(asked)["operation"]["id"] == "get", **obligations)

    return rule


async def test_an_offer_is_what_policy_allows_and_one_record() -> None:
    stage = set_stage(rule=offering())
    offered, outcome = await offer(stage.parts, stage.call(plane="knowledge", action="offer"))
    assert [(one.action, one.operation.id) for one in offered] == [("retrieve", "get"), ("search", "get")]
    assert outcome.status == 200
    assert stage.kinds == ["outcome"]
    assert (stage.evidence.leaves[0].principal, stage.evidence.leaves[0].plane) == ("alice", "knowledge")
    asked = [json.loads(one) for one in stage.engine.documents]
    assert {one["action"] for one in asked} == {"query", "retrieve", "search"}
    assert all(one["parameters"] is None and one["request"] is None for one in asked)
    assert stage.caller.calls == []


@pytest.mark.parametrize("obligations", [{"require_approval": True}, {"max_rows": 1}])
async def test_what_a_call_could_not_keep_is_not_offered(obligations: dict[str, Any]) -> None:
    stage = set_stage(rule=offering(**obligations))
    offered, outcome = await offer(stage.parts, stage.call(plane="knowledge"))
    assert (offered, outcome.status) == ([], 200)


@pytest.mark.parametrize(
    ("name", "plane", "rule", "expected"),
    [
        (None, "knowledge", allowing(), "unauthenticated"),
        ("stranger", "knowledge", allowing(), "tenant_mismatch"),
        ("alice", "nothing", allowing(), "unknown_plane"),
        ("alice", "knowledge", None, "policy_unavailable"),
        ("alice", "knowledge", lambda _: b"{}", "policy_unavailable"),
        ("alice", "knowledge", lambda _: None, "policy_unavailable"),
        ("alice", "knowledge", offering(mask=["x"]), "policy_unavailable"),  # no JSON Pointer
    ],
)
async def test_an_offer_that_fails_offers_nothing_and_is_recorded(
    name: str | None, plane: str, rule: Any, expected: str
) -> None:
    stage = set_stage(rule=rule)
    offered, outcome = await offer(stage.parts, stage.call(name, plane=plane, action="offer"))
    assert (offered, code(outcome)) == ([], expected)
    assert stage.kinds == ["refusal"]


async def test_a_failure_of_our_own_while_offering_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = set_stage()

    async def broken(_: object) -> Any:
        raise KeyError("inside")

    monkeypatch.setattr(stage.engine, "evaluate_all", broken)
    offered, outcome = await offer(stage.parts, stage.call(plane="knowledge"))
    assert (offered, code(outcome)) == ([], "internal_error")
    assert stage.kinds == ["refusal"]


async def test_an_offer_that_cannot_be_recorded_is_not_made() -> None:
    stage = set_stage()
    stage.evidence.available = False
    offered, outcome = await offer(stage.parts, stage.call(plane="knowledge"))
    assert (offered, code(outcome), outcome.evidence_id) == ([], "evidence_unavailable", None)
