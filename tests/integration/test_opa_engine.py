"""The engine under load and under attack: swaps, bombs, deadlines."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles, revision_of
from sidecar.errors import Misconfigured, Unavailable
from tests.fakes.observer import RecordingObserver

# 10^12 steps between which OPA looks for cancellation
LOOP_BOMB = """package sidecar.authz
decision if {
	some a in numbers.range(1, 10000)
	some b in numbers.range(1, 10000)
	some c in numbers.range(1, 10000)
	a * b * c < 0
}
"""
# one call of a builtin that cannot be interrupted, of about a second: two thousand states over every character
REGEX_BOMB = """package sidecar.authz
decision if regex.match(`(a?){1000}(a?){1000}$`, input.text)
"""
ALLOW = "package sidecar.authz\ndecision := true\n"


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(0.005, 0.1, RecordingObserver())
    yield made
    made.close()


async def longest_stall(done: asyncio.Event) -> float:
    """Seconds of the longest time the event loop did not come round."""
    worst, last = 0.0, time.monotonic()
    while not done.is_set():
        await asyncio.sleep(0)
        now = time.monotonic()
        worst, last = max(worst, now - last), now
    return worst


@pytest.mark.parametrize("bomb", [LOOP_BOMB, REGEX_BOMB], ids=["loop", "regex"])
async def test_p06_a_bomb_times_out_denies_and_stalls_nothing(engine: EmbeddedEngine, bomb: str) -> None:
    engine.load(PolicyFiles({"bomb.rego": bomb}))
    document = json.dumps({"text": "a" * 20_000 + "!"}).encode()
    done = asyncio.Event()
    watch = asyncio.create_task(longest_stall(done))
    for _ in range(20):
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await engine.evaluate(document)
        assert caught.value.code == "policy_unavailable"
        assert time.monotonic() - started < 2
    done.set()
    assert await watch < 0.25, "5 ms on the loop, and what a shared machine adds"
    engine.load(PolicyFiles({"allow.rego": ALLOW}))
    assert (await engine.evaluate(b"{}")).answer == b"true"


async def test_p01_a_slow_policy_denies_within_its_budget(engine: EmbeddedEngine) -> None:
    engine.load(PolicyFiles({"bomb.rego": LOOP_BOMB}))
    times = []
    for _ in range(10):
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await engine.evaluate(b"{}")
        times.append(time.monotonic() - started)
    assert min(times) < 0.15, "the rest is a busy machine"
    assert max(times) < 1
    with pytest.raises(Unavailable):
        await engine.evaluate_all([b"{}", b"{}"])


async def test_p04_every_verdict_of_a_swap_under_load_is_of_one_revision() -> None:
    """Rules and data both carry the version; a mixture would show two different ones in one answer."""
    engine = EmbeddedEngine(0.005, 20.0, RecordingObserver())

    def version(number: int) -> PolicyFiles:
        rego = f"package sidecar.authz\ndecision := [{number}, data.number, input.call]\n"
        return PolicyFiles({"policy.rego": rego}, {"number": number})

    revisions = {engine.load(version(0)): 0}
    stop = asyncio.Event()
    seen: set[str] = set()

    async def ask(call: int) -> int:
        asked = 0
        while not stop.is_set():
            if call % 4:
                verdicts = [await engine.evaluate(json.dumps({"call": call}).encode())]
            else:
                verdicts = await engine.evaluate_all([json.dumps({"call": call}).encode()] * 5)
            assert len({verdict.revision for verdict in verdicts}) == 1
            for verdict in verdicts:
                number = revisions[verdict.revision]
                assert verdict.answer == b"[%d,%d,%d]" % (number, number, call)
                seen.add(verdict.revision)
            asked += 1
            await asyncio.sleep(0)
        return asked

    callers = [asyncio.create_task(ask(call)) for call in range(8)]
    for number in range(1, 60):
        files = version(number)
        from_thread = asyncio.to_thread(engine.load, files)
        revisions[revision_of(files)] = number
        assert await from_thread == revision_of(files)
        if number % 10 == 0:
            with pytest.raises(Misconfigured):
                await asyncio.to_thread(engine.load, PolicyFiles({"policy.rego": "package sidecar.authz\nx := y"}))
    stop.set()
    assert all(count > 0 for count in await asyncio.gather(*callers))
    assert len(seen) > 10
    engine.close()


async def test_slow_inputs_take_no_time_from_the_others() -> None:
    """Of one policy's inputs some explode: calls beside them are answered."""
    engine = EmbeddedEngine(0.005, 2.0, RecordingObserver())
    rego = LOOP_BOMB.replace("decision if {", "decision if {\n\tinput.explode")
    engine.load(PolicyFiles({"policy.rego": rego + 'decision := "quick" if not input.explode\n'}))
    slow = asyncio.gather(*(engine.evaluate(b'{"explode": true}') for _ in range(2)), return_exceptions=True)
    answers = []
    while not slow.done():
        answers.append((await engine.evaluate(b'{"explode": false}')).answer)
        await asyncio.sleep(0)
    assert set(answers) == {b'"quick"'}
    assert len(answers) > 20
    assert all(isinstance(result, Unavailable) for result in await slow)
    engine.close()
