"""What is kept, for how long, and what never is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.model.decision import Reads, Verdict
from sidecar.pipeline.decisions import LARGEST, MOST_BYTES, DecisionCache

ONE, OTHER = "sha256:1", "sha256:2"


class Engine:
    """What an engine says it reads; a test loads another policy by setting it."""

    def __init__(self) -> None:
        self.reads: Reads | None = reads(ONE)


def reads(revision: str, path: str = "a", builtins: tuple[str, ...] = ()) -> Reads:
    return Reads(revision, (("input", path),), builtins)


def document(**members: Any) -> bytes:
    return json.dumps(members).encode()


def verdict(revision: str = ONE, answer: bytes | None = b"true") -> Verdict:
    return Verdict(revision, answer)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def cache(engine: Engine) -> DecisionCache:
    return DecisionCache(engine, 100)


def test_an_answer_is_found_for_inputs_that_are_the_same_to_the_policy(cache: DecisionCache) -> None:
    assert cache.find(document(a=1, b=1)) is None
    cache.keep(document(a=1, b=1), verdict())
    assert cache.find(document(a=1, b=2)) == verdict()
    assert cache.find(document(a=2, b=1)) is None


def test_an_undefined_answer_is_an_answer(cache: DecisionCache) -> None:
    cache.keep(document(a=1), verdict(answer=None))
    assert cache.find(document(a=1)) == verdict(answer=None)


@pytest.mark.parametrize("fresh", [reads(OTHER), reads(ONE), reads(OTHER, "b"), None])
def test_p07_another_policy_forgets_all_before_anything_is_found(
    engine: Engine, cache: DecisionCache, fresh: Reads | None
) -> None:
    cache.keep(document(a=1), verdict())
    before, engine.reads = engine.reads, fresh
    assert cache.find(document(a=1)) is None
    engine.reads = before
    assert cache.find(document(a=1)) is None, "nor does it come back"


def test_inv_3_an_answer_of_a_policy_that_was_replaced_meanwhile_is_not_kept(
    engine: Engine, cache: DecisionCache
) -> None:
    assert cache.find(document(a=1)) is None
    engine.reads = reads(OTHER)
    cache.keep(document(a=1), verdict(ONE))
    assert cache.find(document(a=1)) is None
    engine.reads = reads(ONE)
    cache.keep(document(a=1), verdict(OTHER))
    assert cache.find(document(a=1)) is None


def test_p07_the_key_is_that_of_the_policy_that_answered(engine: Engine, cache: DecisionCache) -> None:
    assert cache.find(document(a=1, b=1)) is None
    engine.reads = reads(OTHER, "b")
    cache.keep(document(a=1, b=1), verdict(OTHER))
    assert cache.find(document(a=1, b=2)) is None
    assert cache.find(document(a=2, b=1)) == verdict(OTHER)


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (None, "does not say"),
        (reads(ONE, builtins=("rand.intn",)), "rand.intn"),
        (Reads(ONE, (("input",),), ()), "whole"),
    ],
)
def test_p13_what_cannot_be_cached_is_not_and_says_why(engine: Engine, known: Reads | None, word: str) -> None:
    engine.reads = known
    cache = DecisionCache(engine, 100)
    cache.keep(document(a=1), verdict())
    assert cache.find(document(a=1)) is None
    assert word in str(cache.why_not())
    assert cache.tell() == {"hits": 0, "misses": 0, "passed": 1, "entries": 0, "bytes": 0}


def test_switched_off_it_keeps_nothing(engine: Engine) -> None:
    cache = DecisionCache(engine)
    assert "switched off" in str(cache.why_not())
    cache.keep(document(a=1), verdict())
    assert cache.find(document(a=1)) is None
    cache.resize(1)
    assert cache.why_not() is None
    cache.keep(document(a=1), verdict())
    assert cache.find(document(a=1)) == verdict()
    cache.resize(0)
    assert cache.find(document(a=1)) is None


def test_the_least_recently_used_answer_goes_first(cache: DecisionCache) -> None:
    for number in range(100):
        cache.keep(document(a=number), verdict())
    assert cache.find(document(a=0)) is not None
    cache.keep(document(a=100), verdict())
    assert cache.find(document(a=0)) is not None
    assert cache.find(document(a=1)) is None
    assert cache.tell()["entries"] == 100


def test_its_memory_is_bounded_whatever_comes(engine: Engine) -> None:
    cache = DecisionCache(engine, 1_000_000)
    for number in range(600):
        cache.keep(document(a=f"{number:030000}"), verdict(answer=b"x" * 10_000))
        assert cache.tell()["bytes"] <= MOST_BYTES
    told = cache.tell()
    assert 0 < told["entries"] < 500
    assert told["bytes"] > MOST_BYTES // 2
    for number in range(600):  # each again: nothing is counted twice
        cache.keep(document(a=f"{number:030000}"), verdict(answer=b""))
    assert cache.tell()["bytes"] <= MOST_BYTES
    engine.reads = reads(OTHER)
    assert cache.find(document(a=1)) is None
    assert cache.tell()["bytes"] == 0


def test_one_input_takes_one_place(cache: DecisionCache) -> None:
    cache.keep(document(a=1), verdict())
    once = cache.tell()
    cache.keep(document(a=1), verdict())
    assert cache.tell() == once
    assert once["entries"] == 1


def test_a_large_input_is_neither_kept_nor_looked_up(cache: DecisionCache) -> None:
    large = document(a=1, b="x" * LARGEST)
    cache.keep(large, verdict())
    assert cache.find(large) is None
    assert cache.tell() == {"hits": 0, "misses": 0, "passed": 1, "entries": 0, "bytes": 0}


def test_hits_misses_and_the_rest_are_told_once(cache: DecisionCache) -> None:
    cache.keep(document(a=1), verdict())
    assert cache.find(document(a=1)) is not None
    assert cache.find(document(a=1)) is not None
    assert cache.find(document(a=2)) is None
    told = cache.tell()
    assert (told["hits"], told["misses"], told["passed"], told["entries"]) == (2, 1, 0, 1)
    assert cache.tell()["hits"] == 0
