from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.adapters.policy import embedded
from sidecar.adapters.policy.embedded import QUICK_BYTES, TOLERATED, WINDOW, EmbeddedEngine, compiled
from sidecar.adapters.policy.files import PolicyFiles, revision_of
from sidecar.adapters.policy.library import ANSWER_ROOM, Library, Room, Status, library
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.decision import Reads
from tests.fakes.observer import RecordingObserver

ALLOW = PolicyFiles({"a.rego": "package sidecar.authz\ndecision := true"})
# uses a builtin that cannot be interrupted, so that its processor time cannot be told
DETACHED = PolicyFiles({"a.rego": 'package sidecar.authz\ndecision := regex.match("a", "a")'})
BROKEN = PolicyFiles({"a.rego": "package sidecar.authz\n\ndecision := x\n", "b.rego": "package b\ny := z\n"})


class Engine:
    """Stands between the engine and the library: notes the thread of each evaluation, may stretch time."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.released: list[int] = []
        self.expire: Callable[[int], bool] = lambda _: False

    def load(self, source: bytes) -> Any:
        return library().load(source)

    def evaluate(self, handle: int, document: bytes, microseconds: int, room: Room) -> tuple[int, int]:
        self.threads.append(threading.current_thread())
        if self.expire(microseconds):
            return Status.TIMEOUT, 0
        return library().evaluate(handle, document, microseconds, room)

    def release(self, handle: int) -> None:
        self.released.append(handle)
        library().release(handle)


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(embedded, "library", lambda: engine)
    return engine


@pytest.fixture
def engine(observer: RecordingObserver) -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(0.2, 2.0, observer)
    yield made
    made.close()


async def test_loading_gives_the_revision_and_tells_the_observer(
    engine: EmbeddedEngine, observer: RecordingObserver
) -> None:
    assert (engine.revision, engine.facts) == (None, None)
    revision = engine.load(ALLOW)
    assert revision == engine.revision == revision_of(ALLOW)
    assert engine.facts
    assert observer.named("policy_load") == [{"outcome": "loaded", "revision": revision}]


async def test_a_policy_that_does_not_compile_leaves_the_last_good_one(
    engine: EmbeddedEngine, observer: RecordingObserver
) -> None:
    revision = engine.load(ALLOW)
    with pytest.raises(Misconfigured) as caught:
        engine.load(BROKEN)
    assert [reason.message.split(": ")[0] for reason in caught.value.reasons] == ["a.rego:3", "b.rego:2"]
    assert (await engine.evaluate(b"{}")).revision == revision
    assert observer.named("policy_load")[-1] == {"outcome": "failed", "revision": revision}


@pytest.mark.parametrize(
    ("rego", "reads"),
    [
        ("decision := true", False),
        ("decision := input.request.host", False),
        ('decision if input.destination.host == "a"', True),
        ("decision if not deny\ndeny if input.destination.port != 443", True),
        ("decision := input", True),
        ('decision := object.get(input, "destination", null)', True),
        ("decision if some x in input[_]", True),
    ],
)
def test_whether_a_policy_reads_the_destination(engine: EmbeddedEngine, rego: str, reads: bool) -> None:
    assert engine.reads_destination
    engine.load(PolicyFiles({"a.rego": f"package sidecar.authz\n{rego}"}))
    assert engine.reads_destination is reads


def test_what_a_policy_reads_is_one_object_until_another_is_loaded(engine: EmbeddedEngine) -> None:
    assert [engine.reads] == [None]
    revision = engine.load(PolicyFiles({"a.rego": "package sidecar.authz\ndecision := lower(input.a.b)"}))
    reads = engine.reads
    assert reads == Reads(revision, (("input", "a", "b"),), ("eq", "lower"))
    assert engine.reads is reads
    again = engine.load(PolicyFiles({"a.rego": "package sidecar.authz\ndecision := lower(input.a.b)"}))
    assert again == revision
    assert engine.reads == reads
    assert engine.reads is not reads


async def test_quick_evaluations_stay_on_the_loops_thread(between: Engine, engine: EmbeddedEngine) -> None:
    engine.load(ALLOW)
    assert (await engine.evaluate(b"{}")).answer == b"true"
    assert between.threads == [threading.current_thread()]


async def test_a_large_input_is_read_in_a_worker_thread(between: Engine, engine: EmbeddedEngine) -> None:
    engine.load(ALLOW)
    assert (await engine.evaluate(b'"' + b"x" * QUICK_BYTES + b'"')).answer == b"true"
    assert [thread is threading.current_thread() for thread in between.threads] == [False]


async def test_an_expired_evaluation_ends_in_a_worker_thread(between: Engine, engine: EmbeddedEngine) -> None:
    engine.load(ALLOW)
    between.expire = lambda microseconds: microseconds <= 200_000
    assert (await engine.evaluate(b"{}")).answer == b"true"
    assert [thread is threading.current_thread() for thread in between.threads] == [True, False]


async def test_a_revision_that_expires_too_often_stays_in_the_threads(
    between: Engine, engine: EmbeddedEngine, observer: RecordingObserver
) -> None:
    engine.load(DETACHED)
    between.expire = lambda microseconds: microseconds <= 200_000
    for _ in range(TOLERATED + 1):
        assert not observer.named("policy_slow")
        await engine.evaluate(b"{}")
    assert observer.named("policy_slow") == [{"revision": engine.revision}]
    between.threads.clear()
    await engine.evaluate(b"{}")
    assert [thread is threading.current_thread() for thread in between.threads] == [False]
    engine.load(PolicyFiles(DETACHED.modules, {"another": "revision"}))
    between.expire = lambda _: False
    between.threads.clear()
    await engine.evaluate(b"{}")
    assert [thread is threading.current_thread() for thread in between.threads] == [True]


async def test_a_revision_that_expires_now_and_then_stays_on_the_loop(
    between: Engine, engine: EmbeddedEngine
) -> None:
    engine.load(DETACHED)
    gap = WINDOW // TOLERATED
    for number in range(gap * (TOLERATED + 5)):
        between.expire = (lambda microseconds: microseconds <= 200_000) if number % gap == 0 else (lambda _: False)
        between.threads.clear()
        await engine.evaluate(b"{}")
        assert between.threads[0] is threading.current_thread()


async def test_a_quick_revision_on_a_busy_machine_stays_on_the_loop(between: Engine, engine: EmbeddedEngine) -> None:
    engine.load(ALLOW)
    between.expire = lambda microseconds: microseconds <= 200_000
    for _ in range(TOLERATED * 3):
        between.threads.clear()
        await engine.evaluate(b"{}")
        assert between.threads[0] is threading.current_thread()


async def test_no_answer_within_the_budget_is_unavailable(
    between: Engine, engine: EmbeddedEngine, observer: RecordingObserver
) -> None:
    engine.load(ALLOW)
    between.expire = lambda _: True
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(b"{}")
    assert caught.value.code == "policy_unavailable"
    assert observer.named("policy_timeout") == [{"revision": engine.revision}]


async def test_waiting_for_a_worker_counts_towards_the_budget(between: Engine, observer: RecordingObserver) -> None:
    engine = EmbeddedEngine(0.01, 0.1, observer)
    engine.load(ALLOW)
    gate = threading.Event()

    def hold(microseconds: int) -> bool:
        if microseconds > 10_000:
            gate.wait(20)
        return True

    between.expire = hold
    try:
        started = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(engine.evaluate(b"{}") for _ in range(12)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - started < 5
    finally:
        gate.set()
        engine.close()
    assert all(isinstance(result, Unavailable) for result in results)


async def test_a_large_answer_is_fetched_with_a_larger_room(engine: EmbeddedEngine) -> None:
    engine.load(PolicyFiles({"a.rego": "package sidecar.authz\ndecision := input.x"}))
    document = b'{"x":"' + b"y" * (ANSWER_ROOM + 10) + b'"}'
    assert (await engine.evaluate(document)).answer == document[5:-1]
    assert (await engine.evaluate_all([document]))[0].answer == document[5:-1]


async def test_a_swapped_out_policy_is_released_after_its_last_evaluation(between: Engine) -> None:
    engine = EmbeddedEngine(0.01, 20.0, RecordingObserver())
    first = engine.load(ALLOW)
    gate, inside = threading.Event(), threading.Event()

    def hold(microseconds: int) -> bool:
        if microseconds <= 10_000:
            return True
        inside.set()
        gate.wait(20)
        return False

    between.expire = hold
    evaluation = asyncio.create_task(engine.evaluate(b"{}"))
    await asyncio.to_thread(inside.wait, 20)
    second = engine.load(PolicyFiles(ALLOW.modules, {"v": 2}))
    gc.collect()
    assert between.released == []
    gate.set()
    assert (await evaluation).revision == first != second
    del evaluation
    async with asyncio.timeout(20):
        while not between.released:  # the worker's frame ends a moment after its result
            await asyncio.sleep(0.001)
            gc.collect()
    engine.close()
    assert len(between.released) == 1


async def test_the_callers_never_see_what_the_engine_said(
    engine: EmbeddedEngine, observer: RecordingObserver
) -> None:
    engine.load(
        PolicyFiles({"secret_place.rego": "package sidecar.authz\ndecision := 1 if input\ndecision := 2 if input"})
    )
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(b"{}")
    assert "secret_place" not in str(caught.value)
    assert "secret_place" in observer.named("policy_error")[0]["message"]


async def test_without_a_library_loading_is_unavailable(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, observer: RecordingObserver
) -> None:
    def missing() -> Library:
        raise Unavailable("policy_unavailable", "The policy engine cannot be loaded.")

    monkeypatch.setattr(embedded, "library", missing)
    with pytest.raises(Unavailable):
        engine.load(ALLOW)
    assert observer.named("policy_load")[0]["outcome"] == "failed"
    with pytest.raises(Unavailable):
        await engine.evaluate(b"{}")


async def test_p04_each_decision_carries_the_one_revision_that_made_it(engine: EmbeddedEngine) -> None:
    """Swapped at every tenth decision, some thousand times a second, with decisions under way in threads."""
    policies = [
        compiled(PolicyFiles({"a.rego": f"package sidecar.authz\ndecision := {number}"})) for number in range(4)
    ]
    answers = {policy.revision: b"%d" % number for number, policy in enumerate(policies)}
    engine.swap(policies[0])
    large = b'"' + b"x" * QUICK_BYTES + b'"'  # decided in a worker thread
    for turn in range(200):
        slow = [asyncio.create_task(engine.evaluate(large)) for _ in range(2)]
        await asyncio.sleep(0)  # they have begun
        before = engine.revision
        engine.swap(policies[turn % 4])
        verdicts = [await engine.evaluate(b"{}") for _ in range(10)]
        assert {verdict.revision for verdict in verdicts} == {engine.revision}
        assert {verdict.revision for verdict in await asyncio.gather(*slow)} == {before}
        for verdict in [*verdicts, *(task.result() for task in slow)]:
            assert verdict.answer == answers[verdict.revision]
