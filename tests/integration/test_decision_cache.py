"""The cache beside an engine whose policy is replaced all the time: each answer is one of its revision (P04, P07)."""

from __future__ import annotations

import asyncio

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles
from sidecar.pipeline.decisions import DecisionCache
from tests.fakes.observer import RecordingObserver

SWAPS = 300
POLICIES = 5
CALLERS = 8


def policy(number: int) -> PolicyFiles:
    """Answers its number and what it reads, another member in every policy."""
    return PolicyFiles(
        {"p.rego": f'package sidecar.authz\ndecision := [{number}, input.m{number}, "{"x" * number}"]'}
    )


async def test_p04_a_policy_replaced_under_load_never_answers_under_anothers_revision() -> None:
    engine = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    cache = DecisionCache(engine, 100)
    number_of = {engine.load(policy(number)): number for number in range(POLICIES)}
    documents = [
        ("{" + ",".join(f'"m{member}":{(call + member) % 3}' for member in range(POLICIES)) + "}").encode()
        for call in range(6)
    ]
    asked = hits = 0
    swapping = True

    async def swap() -> None:
        nonlocal swapping
        for turn in range(SWAPS):
            await asyncio.to_thread(engine.load, policy(turn % POLICIES))
        swapping = False

    async def call(first: int) -> None:
        nonlocal asked, hits
        at = first
        while swapping:
            at += 1
            number = at % len(documents)
            before = engine.revision
            verdict = cache.find(documents[number])
            if verdict is not None:
                hits += 1
                # where it was replaced just while we looked, either may have answered
                assert verdict.revision == before or before != engine.revision
            else:
                verdict = await engine.evaluate(documents[number])
                await asyncio.sleep(0)  # the policy may be replaced here
                cache.keep(documents[number], verdict)
            policy_number = number_of[verdict.revision]
            read = (number + policy_number) % 3
            assert verdict.answer == f'[{policy_number},{read},"{"x" * policy_number}"]'.encode()
            asked += 1
            if asked % 20 == 0:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(swap())
        for caller in range(CALLERS):
            tasks.create_task(call(caller))
    engine.close()
    assert asked > hits > CALLERS
