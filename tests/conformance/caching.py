"""Decisions from the cache beside those the policy gives afresh, for the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sidecar.pipeline.decisions import DecisionCache
from tests.rego.embedded import Asked
from tests.rego.inputs import inputs
from tests.rego.policies import NARROW, source

INPUTS: Final = 4000  # for each policy: over a hundred thousand in all
KNOWN: Final = 250
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


def compare_all(tell: Callable[[str], None] = lambda _: None) -> Compared:
    """Compare all of them."""
    made = []
    for name in NARROW:
        tell(name)
        made.append(compare_one(name))
    return Compared(
        sum(one.inputs for one in made),
        sum(one.hits for one in made),
        sum(one.answers for one in made),
        [f"{name}: {difference}" for name, one in zip(NARROW, made, strict=True) for difference in one.differences],
    )
