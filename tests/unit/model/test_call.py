"""Calls, outcomes and problems."""

from __future__ import annotations

import msgspec

from sidecar.model.call import Call, Outcome, Problem
from sidecar.model.secret import Secret


def test_inv_5_a_call_does_not_show_its_token() -> None:
    call = Call(id="c1", surface="access", action="query", token=Secret("scp_k1_canary"))
    assert "canary" not in repr(call)


def test_a_call_names_nothing_that_it_was_not_told() -> None:
    call = Call(id="c1", surface="access", action="query")
    assert (call.plane, call.connector, call.operation, call.parameters, call.principal) == (None,) * 5


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    problem = Problem(
        type="about:blank",
        title="The policy denies this call",
        status=403,
        detail="No rule allows it.",
        code="denied",
        evidence_id=None,
        policy_revision="sha256:00",
    )
    document = msgspec.to_builtins(problem)
    assert set(document) == {
        *("type", "title", "status", "detail"),
        *("code", "evidence_id", "policy_revision", "reasons"),
    }
    assert document["evidence_id"] is None  # there, and null, where a refusal left no record


def test_an_outcome_is_empty_unless_told() -> None:
    outcome = Outcome(call_id="c1", status=204)
    assert (outcome.body, outcome.headers, outcome.problem, outcome.final_evidence_id) == (b"", (), None, None)
