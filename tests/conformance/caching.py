"""Decisions from the cache beside those the policy gives afresh, for the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sidecar.errors import Misconfigured
from sidecar.pipeline.decisions import DecisionCache
from tests.rego.embedded import Asked
from tests.rego.generated import modules
from tests.rego.inputs import inputs
from tests.rego.policies import NARROW, source

INPUTS: Final = 4000  # for each policy: over a hundred thousand in all
KNOWN: Final = 250
GENERATED_INPUTS: Final = 150
GENERATED_KNOWN: Final = 40
ENTRIES: Final = 1000


class Compared(NamedTuple):
    """``answers`` counts the different ones; ``differences`` are the inputs that the cache answered otherwise."""

    inputs: int
    hits: int
    answers: int
    differences: list[str]


def compare(policy: Asked, documents: Iterable[bytes]) -> Compared:
    """Ask the policy about every input, and the cache before it."""
    cache = DecisionCache(policy, ENTRIES)
    answers = set()
    asked = hits = 0
    differences = []
    for document in documents:
        found, fresh = cache.find(document), policy.evaluate(document)
        asked += 1
        hits += found is not None
        if found is not None and found != fresh:
            differences.append(f"{document.decode()}: from the cache {found}, afresh {fresh}")
        answers.add(fresh)
        if fresh is not None:
            cache.keep(document, fresh)
    return Compared(asked, hits, len(answers), differences)


def compare_one(name: str) -> Compared:
    """Compare one of the policies that may be cached."""
    policy = Asked(source(NARROW[name]))
    try:
        return compare(policy, inputs(random.Random(name), KNOWN, INPUTS))
    finally:
        policy.release()


def compare_generated(count: int, tell: Callable[[str], None] = lambda _: None) -> tuple[Compared, int]:
    """Compare those of ``count`` generated policies that compile, and say how many these are."""
    made = {}
    for name, rules in modules(count).items():
        tell(name)
        try:
            policy = Asked(source(rules))
        except Misconfigured:
            continue
        made[name] = compare(policy, inputs(random.Random(name), GENERATED_KNOWN, GENERATED_INPUTS))
        policy.release()
    return _together(made), len(made)


def compare_all(tell: Callable[[str], None] = lambda _: None) -> Compared:
    """Compare all of those written by hand."""
    made = {}
    for name in NARROW:
        tell(name)
        made[name] = compare_one(name)
    return _together(made)


def _together(made: dict[str, Compared]) -> Compared:
    return Compared(
        sum(one.inputs for one in made.values()),
        sum(one.hits for one in made.values()),
        sum(one.answers for one in made.values()),
        [f"{name}: {difference}" for name, one in made.items() for difference in one.differences],
    )
