"""Cached and asked afresh, a decision is the same: over policies in which reading is easily overlooked (P13)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sidecar.adapters.policy.files import read_policy, source_of
from sidecar.adapters.policy.library import Room, Status, library
from sidecar.model.decision import Reads, Verdict
from sidecar.pipeline.decisions import DecisionCache
from tests.properties.cache_policies import CACHED, DATA, OTHERS, PASSED

INPUTS: Final = 4000  # for each policy: over a hundred thousand in all
KNOWN: Final = 250
REVISION: Final = "sha256:1"
SECONDS: Final = 5_000_000  # microseconds; none of them is slow, but the machine may be

# few values, so that inputs come again; of all types, so that those that look alike meet
SCALARS: Final[list[Any]] = ["x", "y", "", "1", 1, 1.0, 0, -0.0, True, False, None, 2.5]
_encode = msgspec.json.Encoder(order="deterministic").encode


def source(rules: str) -> bytes:
    modules = {"policy.rego": "package sidecar.authz\n" + rules, **OTHERS}
    return json.dumps({"modules": modules, "data": DATA}).encode()


def value(dice: random.Random, depth: int = 0) -> Any:
    """Often "x" or "y", sometimes a value of any other kind."""
    roll = dice.random()
    if roll < 0.55:
        return dice.choice(("x", "y"))
    if roll < 0.85 or depth > 3:
        return dice.choice(SCALARS)
    if roll < 0.9:
        return [value(dice, depth + 1) for _ in range(dice.randrange(3))]
    return part(dice, depth + 1)


def part(dice: random.Random, depth: int = 0) -> dict[str, Any]:
    """An object whose members may each be absent."""
    return {name: value(dice, depth + 1) for name in ("b", "c", "d") if dice.random() < 0.5}


def make_input(dice: random.Random) -> dict[str, Any]:
    """Members a to c are values, o is mostly an object, l mostly a list."""
    made: dict[str, Any] = {name: value(dice) for name in ("a", "b", "c") if dice.random() < 0.85}
    if dice.random() < 0.9:
        made["o"] = part(dice) if dice.random() < 0.9 else value(dice)
    if dice.random() < 0.9:
        made["l"] = [value(dice, 2) for _ in range(dice.randrange(3))] if dice.random() < 0.9 else value(dice)
    if dice.random() < 0.3:
        made |= {"k": dice.choice("bc"), "odd": {"é": value(dice), 'quo"te': value(dice)}, "": value(dice)}
    return made


def change(made: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same input but for one member, which may go, come or differ; the member may be of a part."""
    changed, name = dict(made), dice.choice(("a", "b", "c", "o", "l", "tenant"))
    inner = changed.get(name)
    if isinstance(inner, dict) and dice.random() < 0.8:
        changed[name] = change(inner, dice)
    elif dice.random() < 0.3:
        changed.pop(name, None)
    else:
        changed[name] = value(dice)
    return changed


def inputs(dice: random.Random) -> Iterator[bytes]:
    """Some inputs again and again, as agents ask, and others that differ from them in one member.

    ``noise``, which no policy reads, never comes twice.
    """
    known = [make_input(dice) for _ in range(KNOWN)]
    for number in range(INPUTS):
        one = dice.choice(known)
        yield _encode((one if dice.random() < 0.7 else change(one, dice)) | {"noise": number})


class Asked:
    """A loaded policy, asked directly."""

    def __init__(self, policy: bytes) -> None:
        self.loaded = library().load(policy)
        self.reads = Reads(REVISION, self.loaded.facts.base, self.loaded.facts.builtins)
        self._room = Room()

    def evaluate(self, document: bytes) -> Verdict | None:
        """The answer, None where the policy fails."""
        status, size = library().evaluate(self.loaded.handle, document, SECONDS, self._room)
        if status == Status.ANSWERED:
            return Verdict(REVISION, self._room.view[:size].tobytes())
        assert status in {Status.UNDEFINED, Status.FAILED}
        return Verdict(REVISION, None) if status == Status.UNDEFINED else None

    def release(self) -> None:
        library().release(self.loaded.handle)


@pytest.mark.parametrize("name", CACHED)
def test_p13_a_cached_decision_is_the_one_the_policy_would_give(name: str) -> None:
    policy, dice = Asked(source(CACHED[name])), random.Random(name)
    cache = DecisionCache(lambda: policy.reads, 1000)
    answers = set()
    hits = 0
    for document in inputs(dice):
        found, fresh = cache.find(document), policy.evaluate(document)
        assert found is None or found == fresh, document
        hits += found is not None
        answers.add(fresh)
        if fresh is not None:
            cache.keep(document, fresh)
    policy.release()
    assert hits > INPUTS / 2, cache.why_not()
    assert len(answers) > 1 or name == "nothing of the input", "a policy that always says the same proves nothing"


@pytest.mark.parametrize("name", PASSED)
def test_p13_what_reads_everything_or_is_impure_is_never_cached(name: str) -> None:
    policy, dice = Asked(source(PASSED[name])), random.Random(name)
    cache = DecisionCache(lambda: policy.reads, 1000)
    for _ in range(50):
        document = _encode(make_input(dice))
        assert cache.find(document) is None
        cache.keep(document, Verdict(REVISION, b"true"))
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
    return _encode(
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
    cache = DecisionCache(lambda: policy.reads, 10_000)
    hits = allowed = 0
    for number in range(INPUTS):
        document = call(random.Random(dice.randrange(KNOWN)), number)  # as many callers with as many questions
        found, fresh = cache.find(document), policy.evaluate(document)
        assert fresh is not None
        assert found is None or found == fresh, document
        hits += found is not None
        allowed += b'"allow":true' in (fresh.answer or b"")
        cache.keep(document, fresh)
    policy.release()
    assert cache.why_not() is None
    assert hits > INPUTS / 2
    assert INPUTS / 50 < allowed < INPUTS / 2


def test_there_are_as_many_policies_and_inputs_as_promised() -> None:
    assert len(CACHED) >= 20
    assert len(CACHED) * INPUTS >= 100_000
