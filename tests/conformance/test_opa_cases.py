"""OPA's own cases pass on the embedded engine, all but two that are named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.cases import NOT_PASSED, Case, read, run

CASES = 2392  # of OPA 1.22


@pytest.mark.needs_opacases
def test_p13_opas_own_cases_pass() -> None:
    outcomes = [run(case) for case in read()]
    failed = [outcome for outcome in outcomes if outcome.why is not None]
    assert len(outcomes) == CASES
    assert sorted(outcome.name for outcome in failed) == sorted(NOT_PASSED), failed


def case(**more: Any) -> Case:
    plain: dict[str, Any] = {
        "name": "one",
        "modules": {"test-0.rego": "package test\np := [1, {2, 3}, input.x]\nq := 1 / input.x"},
        "query": "data.test.p",
        "variable": "x",
        "data": None,
        "input": {"x": 0},
        **dict.fromkeys(("strict", "sorted", "internal"), False),
        **dict.fromkeys(("results", "error_code", "error_text")),
    }
    return Case(**(plain | more))


@pytest.mark.parametrize(
    "wanted",
    [
        {"results": [{"x": [1.0, [2, 3], 0]}]},
        {"results": [{"x": [0, 1, [2, 3]]}], "sorted": True},
        {"query": '[{"a": a} | some a in [2, 1]]', "variable": "", "results": [{"a": 1}, {"a": 2}, {"a": 1}]},
        {"query": "data.test.q", "results": []},
        {"query": "data.test.q", "strict": True, "error_code": "eval_builtin_error", "error_text": "divide by zero"},
        {"input": None, "results": []},
        {"query": 'data.test.p with input as {"x": {1}}', "results": [{"x": [1, [2, 3], [1]]}]},
    ],
)
def test_a_case_that_is_as_wanted_passes(wanted: dict[str, Any]) -> None:
    assert run(case(**wanted)).why is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"results": [{"x": [True, [2, 3], 0]}]},
        {"results": [{"x": [1, [3, 2], 0]}]},
        {"results": [{"y": [1, [2, 3], 0]}]},
        {"results": []},
        {"results": [{"x": [0, 1, [2, 3]]}]},
        {"error_code": "eval_conflict_error"},
        {"query": "data.test.q", "strict": True, "results": []},
        {"query": "data.test.q", "strict": True, "error_code": "eval_conflict_error"},
        {"query": "data.test.q", "strict": True, "error_text": "multiply by zero"},
        {"modules": {"test-0.rego": "package test\np := unknown(1)"}, "results": []},
    ],
)
def test_a_case_that_is_not_as_wanted_fails(wanted: dict[str, Any]) -> None:
    assert run(case(**wanted)).why is not None
