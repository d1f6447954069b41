"""A policy asked by its author's commands, in the real engine."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.adapters.policy.files import PolicyFiles, library_directory, read_policy
from sidecar.adapters.policy.trial import Trial
from sidecar.config.decision_cases import BASE, Difference, read_cases
from sidecar.errors import Misconfigured, Unavailable

PLAIN = msgspec.json.encode(BASE)


def trial(rules: str) -> Trial:
    return Trial(PolicyFiles({"a.rego": f"package sidecar.authz\n\n{rules}\n"}))


def test_an_answer_and_none() -> None:
    with trial('decision := input.tenant if input.effect == "read"') as tried:
        assert tried.answer(PLAIN) == b'"acme"'
        assert tried.answer(b'{"effect": "write"}') is None
        assert tried.revision.startswith("sha256:")


def test_a_failure_says_why() -> None:
    with (
        trial('decision := x if some x in ["a", "b"]') as tried,
        pytest.raises(Unavailable, match="The policy failed"),
    ):
        tried.answer(PLAIN)


def test_an_answer_too_large_to_be_one() -> None:
    with trial('decision := [sprintf("%v", [numbers.range(1, 300000)])]') as tried, pytest.raises(Unavailable):
        tried.answer(PLAIN)


def test_a_policy_that_does_not_compile() -> None:
    with pytest.raises(Misconfigured):
        trial("decision := nothing")


def test_cases_are_held_against_decisions() -> None:
    cases = read_cases(b"cases: [{name: a, expect: deny}, {name: b, expect: allow}]", "cases.yaml")
    with Trial(PolicyFiles(read_policy(library_directory(), with_library=False).modules)) as tried:
        assert [(case.name, found) for case, found in tried.check(cases)] == [
            ("a", ()),
            ("b", (Difference("allow", True, False),)),
        ]


def test_a_policy_that_fails_on_a_case_differs_from_it() -> None:
    cases = read_cases(b"cases: [{name: a, expect: deny}]", "cases.yaml")
    with trial('decision := x if some x in ["a", "b"]') as tried:
        [(_, [difference])] = tried.check(cases)
    assert (difference.field, difference.expected) == ("decision", "deny")
    assert "failed" in difference.got


def test_times_are_nanoseconds_each() -> None:
    with trial("decision := 1") as tried:
        taken = tried.time(PLAIN, 30)
    assert len(taken) == 30
    assert all(1_000 < one < 1_000_000_000 for one in taken)
