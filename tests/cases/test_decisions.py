"""Deny by default (INV-3): each row of ``decisions.yaml``, through the whole path."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from sidecar.errors import Unavailable
from tests.fakes.parts import code, set_stage
from tests.fakes.policy import Rule

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "decisions.yaml").read_text())
FAILURES: dict[str, Exception] = {
    "exception": ValueError("rego_type_error: policy text"),
    "timeout": TimeoutError(),
    "unreachable": Unavailable("policy_unavailable", "The policy engine does not answer."),
    "recursion": RecursionError(),
}


def rule_of(case: dict[str, Any]) -> Rule | None:
    if case.get("fails") == "no_policy":
        return None
    if "fails" in case:

        def fail(_: bytes) -> NoReturn:
            raise FAILURES[case["fails"]]

        return fail
    answer: str | None = case["answer"]
    return lambda _: None if answer is None else answer.encode()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_inv_3_only_exactly_an_allow_is_an_allow(case: dict[str, Any]) -> None:
    stage = set_stage(rule=rule_of(case))
    outcome = await stage.handle()
    if case["code"] == "allowed":
        assert outcome.problem is None
        assert len(stage.caller.calls) == 1
        return
    assert code(outcome) == case["code"]
    assert outcome.status == 403
    assert stage.caller.calls == []
    assert stage.credentials.resolved == []
    assert stage.resolver.asked == []
    assert [(leaf.kind, leaf.code) for leaf in stage.evidence.leaves] == [("refusal", case["code"])]
    assert outcome.evidence_id == "acme-00000000/0"
    assert "policy text" not in repr(outcome)


async def test_inv_3_an_engine_that_raises_what_it_never_should_is_a_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("x"), TypeError("x"), MemoryError(), OSError("x")):
        stage = set_stage()

        async def broken(_: bytes, error: Exception = error) -> NoReturn:
            raise error

        monkeypatch.setattr(stage.engine, "evaluate", broken)
        assert code(await stage.handle()) == "internal_error"
        assert stage.caller.calls == []
        assert stage.kinds == ["refusal"]


def test_the_table_has_one_row_a_name() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))
    assert all(("answer" in case) != ("fails" in case) for case in CASES)
