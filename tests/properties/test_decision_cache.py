"""Cached and asked afresh, a decision is the same: over policies in which reading is easily overlooked (P13)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.adapters.policy.files import read_policy, source_of
from sidecar.model.decision import Verdict
from sidecar.pipeline.decisions import DecisionCache
from tests.conformance.caching import INPUTS, KNOWN, compare, compare_generated, compare_one
from tests.rego.embedded import Asked
from tests.rego.inputs import encode, make_input, value
from tests.rego.policies import IMPURE, NARROW, WHOLE, source

GENERATED: Final = 600


@pytest.mark.parametrize("name", NARROW)
def test_p13_a_cached_decision_is_the_one_the_policy_would_give(name: str) -> None:
    made = compare_one(name)
    assert made.differences == []
    assert made.hits > made.inputs / 2
    assert made.answers > 1 or name == "nothing of the input", "a policy that always says the same proves nothing"


def test_p13_nor_does_it_differ_for_policies_that_nobody_would_write() -> None:
    made, compiled = compare_generated(GENERATED)
    assert made.differences == []
    assert compiled > GENERATED / 4
    assert made.hits > made.inputs / 2
    assert made.answers > 5 * compiled


@pytest.mark.parametrize("name", WHOLE | IMPURE)
def test_p13_what_reads_everything_or_is_impure_is_never_cached(name: str) -> None:
    policy, dice = Asked(source((WHOLE | IMPURE)[name])), random.Random(name)
    cache = DecisionCache(policy, 1000)
    for _ in range(50):
        document = encode(make_input(dice))
        assert cache.find(document) is None
        cache.keep(document, Verdict(policy.reads.revision, b"true"))
        assert cache.find(document) is None
    policy.release()
    assert cache.why_not() is not None


# what a security team writes beside the shipped rules
CUSTOM: Final = """package sidecar.custom

allow if {
	input.connector.id == "crm"
	input.parameters.filter.owner == input.principal.id
}

deny contains {"code": "embargo", "message": "No."} if input.parameters.topic in {"x", 1}

deny contains {"code": "label", "message": "No."} if {
	input.operation.labels.class == "secret"
	not input.principal.labels.cleared
}

obligations := {"mask": ["/email"]} if input.effect == "read"
"""
GRANTS: Final = {
    "acme": {"principals": {"x": ["crm/get"]}, "roles": {"y": [{"connector": "crm", "operations": "*"}]}}
}


def call(dice: random.Random, number: int) -> bytes:
    """An input as the path makes it; the path differs from call to call, the time after a thousand of them."""
    parameters: Any = {
        "topic": value(dice),
        "filter": dice.choice([{"owner": value(dice)}, value(dice)]),
        "n": number,
    }
    return encode(
        {
            "version": 1,
            "tenant": dice.choice(["acme", "acme", "globex"]),
            "principal": {
                "id": dice.choice("xyz"),
                "kind": "agent",
                "roles": dice.choice([[], ["y"], ["z", "y"]]),
                "labels": dice.choice([{}, {"cleared": "yes"}]),
            },
            "session": None,
            "surface": "access",
            "action": "query",
            "effect": dice.choice(["read", "write"]),
            "plane": dice.choice([None, "x"]),
            "connector": {"id": dice.choice(["crm", "x"]), "kind": "http", "labels": {}},
            "operation": {"id": "get", "labels": dice.choice([{}, {"class": "secret"}, {"data_class": "pii"}])},
            "parameters": dice.choice([parameters, parameters, None]),
            "request": {"scheme": "https", "method": "GET", "host": "api.example", "path": f"/items/{number}"},
            "destination": None,
            "usage": {"over": []},
            "switches": [],
            "findings": [],
            "time": {"minute": number // 1000, "hour": 12, "weekday": 0, "date": "2030-01-07"},
        }
    )


def test_p13_the_shipped_rules_and_a_tenants_own_decide_the_same_from_the_cache(tmp_path: Path) -> None:
    (tmp_path / "custom.rego").write_text(CUSTOM)
    (tmp_path / "data.json").write_text(json.dumps({"sidecar": {"grants": GRANTS}}))
    policy, dice = Asked(source_of(read_policy(tmp_path))), random.Random(1)
    # as many callers as there are known inputs, each with one question; path and time go on
    documents = [call(random.Random(dice.randrange(KNOWN)), number) for number in range(INPUTS)]
    made = compare(policy, documents)
    verdicts = [policy.evaluate(document) for document in documents]
    policy.release()
    assert made.differences == []
    assert made.hits > INPUTS / 2
    allowed = sum(b'"allow":true' in (verdict.answer or b"") for verdict in verdicts if verdict)
    assert INPUTS / 50 < allowed < INPUTS / 2


def test_there_are_as_many_policies_and_inputs_as_promised() -> None:
    assert len(NARROW) >= 20
    assert len(NARROW) * INPUTS >= 100_000
