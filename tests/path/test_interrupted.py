"""A call that is stopped, or meets a fault, wherever it waits: one record of how it ended, and nothing kept.

The places are not listed here: a call that is left alone is run first, and tells where it waited. At each of them
another call is then cancelled before the part there has done its work, while it does it and once it has done it; the
part fails in a way that nobody foresaw; and a kill switch is set. Evidence is the real log, so that what is durable
is what a disk has.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.adapters.evidence.appender import Appender
from sidecar.adapters.evidence.log import SegmentLog
from sidecar.errors import Refused, UpstreamFailure
from sidecar.model.credential import Credential, Reference
from sidecar.model.evidence import Leaf
from sidecar.model.registry import SWITCH, Row
from sidecar.pipeline.handle import handle
from sidecar.pipeline.reception import offer
from tests.evidence import open_log
from tests.fakes.answers import Pieces, answered
from tests.fakes.caller import Step
from tests.fakes.parts import SECRET, Stage, allowing, changed, code, in_flight, set_stage
from tests.fakes.upstream import until

BEFORE, DURING, AFTER, FAULT, KILL = "before", "during", "after", "fault", "kill"


STOPPED: Final = Row(
    tenant="acme",
    kind=SWITCH,
    id="connector:crm",
    document={},
    version=1,
    sequence=1,
    by="admin",
    at=1,
    deleted=False,
)


class Places:
    """Every wait of a call, by name and number. At ``wanted`` the call is disturbed in ``way``."""

    def __init__(self, wanted: str | None = None, way: str = BEFORE) -> None:
        self.seen: list[str] = []
        self.task: asyncio.Task[Any] | None = None
        self.kill: Callable[[], object] = lambda: None
        self._count: Counter[str] = Counter()
        self._wanted = wanted
        self._way = way

    async def through(self, name: str, work: Callable[[], Any]) -> Any:
        self._count[name] += 1
        place = f"{name} {self._count[name]}"
        self.seen.append(place)
        way = self._way if place == self._wanted else None
        assert self.task is not None
        if way == FAULT:
            raise RuntimeError(place)
        if way == BEFORE:
            await self._stop()
        if way == KILL:
            self.kill()
        if way == DURING:
            asyncio.get_running_loop().call_soon(self.task.cancel)
        result = await work()
        if way == AFTER:
            await self._stop()
        return result

    async def _stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.sleep(0)

    def watch(self, owner: Any, *names: str) -> None:
        """Make a place of each of these methods."""
        for name in names:
            setattr(owner, name, self._around(getattr(owner, name), name))

    def _around(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        async def through(*arguments: Any, **named: Any) -> Any:
            kind = f" {arguments[0].kind}" if name == "append" else ""
            return await self.through(name + kind, lambda: method(*arguments, **named))

        return through


class Renewing:
    """Credentials that are another version once an upstream refused them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def resolve(self, reference: Reference) -> Credential:
        return await self._stage.credentials.resolve(reference)

    async def refresh(self, reference: Reference, refused: str) -> Credential:
        self._stage.credentials.put("crm", f"{SECRET}-next")
        return await self.resolve(reference)


class Scene:
    """One call over parts whose every method is a place. ``bodies`` are the streams that the upstream gave."""

    def __init__(self, name: str, log: SegmentLog, places: Places) -> None:
        self._name = name
        self._places = places
        self.bodies = [Pieces(b"no"), Pieces(b"data: 1\n\n", b"data: 2\n\n")] if name == "stream" else []
        script: list[Step] = [answered(body, 401 - 201 * at) for at, body in enumerate(self.bodies)]
        if not script:
            gone = UpstreamFailure("upstream_unavailable", "gone", sent=True)
            script = [answered(b"no", 401), gone, answered(b"x" * (1 << 15))]
        self.stage = set_stage(changed("connectors.crm.retry.attempts", 3), *script, rule=allowing(), evidence=log)
        self.stage.engine.reads_destination = True
        places.kill = lambda: self.stage.switches.take(STOPPED)
        source = Renewing(self.stage)
        self.stage.parts.credentials = {"encrypted": source}
        places.watch(self.stage.counter, "take")
        places.watch(self.stage.engine, "evaluate", "evaluate_all")
        places.watch(self.stage.resolver, "resolve")
        places.watch(self.stage.caller, "call")
        places.watch(self.stage.clock, "pause")
        places.watch(source, "resolve", "refresh")
        places.watch(log, "append")
        for body in self.bodies:
            places.watch(body, "aclose")

    async def run(self) -> None:
        """The call, and its stream read as the server reads it."""
        stage, streams = self.stage, self._name == "stream"
        if self._name == "offer":
            await offer(stage.parts, stage.call(plane="knowledge", action="offer"))
            return
        call = stage.call(connector="crm", operation="watch" if streams else "get", parameters=self._parameters())
        outcome = await handle(stage.parts, call)
        if isinstance(outcome.body, bytes):
            return
        try:
            async for _ in outcome.body:
                await self._places.through("reader", lambda: asyncio.sleep(0))
        finally:
            close = getattr(outcome.body, "aclose")  # noqa: B009  # an iterator need not have it
            await close()

    def _parameters(self) -> dict[str, str] | None:
        return None if self._name == "stream" else {"id": "7"}


async def disturbed(name: str, directory: Path, places: Places) -> tuple[Scene, list[Leaf]]:
    """What is left of a call once it was disturbed, and everything it recorded, oldest first."""
    log = open_log(directory)
    before = asyncio.all_tasks()
    scene = Scene(name, log, places)
    places.task = asyncio.create_task(scene.run())
    with suppress(asyncio.CancelledError, RuntimeError, Refused):
        await places.task
    assert asyncio.all_tasks() == before
    await log.close()
    again = open_log(directory)
    leaves, _ = await again.recent(None, 100, None)
    assert again.open_intents == []
    await again.close()
    return scene, leaves[::-1]


def hold(scene: Scene, leaves: list[Leaf]) -> None:
    """What must be true of every call, whatever became of it."""
    ends = [leaf for leaf in leaves if leaf.kind in ("outcome", "refusal")]
    intents: list[int | None] = [leaf.index for leaf in leaves if leaf.kind == "intent"]
    assert [leaf.intent for leaf in ends] == (intents or [None])
    assert in_flight(scene.stage) == 0
    assert scene.stage.switches._open == set()
    assert all(traffic.breaker.state == "closed" for traffic in scene.stage.parts.traffic.values())
    given = len(scene.stage.caller.calls)
    assert all(body.closed for body in scene.bodies[:given])


# What no part does: the log takes a record before it waits, and a caller keeps no answer that it did not hand over.
_NEVER: Final = {
    ("append", BEFORE), ("append", AFTER), ("append", FAULT), ("call", AFTER), ("aclose", BEFORE), ("aclose", FAULT),
}  # fmt: skip


@pytest.mark.parametrize("way", [BEFORE, DURING, AFTER, FAULT, KILL])
@pytest.mark.parametrize("name", ["whole", "stream", "offer"])
async def test_inv_7_wherever_a_call_is_stopped_it_has_one_end_and_nothing_is_kept(
    name: str, way: str, tmp_path: Path
) -> None:
    alone = Places()
    hold(*await disturbed(name, tmp_path / "alone", alone))
    for number, place in enumerate(alone.seen):
        if (place.split()[0], way) not in _NEVER:
            try:
                hold(*await disturbed(name, tmp_path / str(number), Places(place, way)))
            except AssertionError as error:
                error.add_note(f"{way} {place}")
                raise


@pytest.mark.parametrize("operation", ["get", "watch"])
async def test_e08_a_disk_that_hangs_behind_the_intent_costs_the_answer_and_not_the_outcome(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = threading.Event()
    moves.set()
    write = Appender.write
    monkeypatch.setattr(Appender, "write", lambda appender, batch: (moves.wait(), write(appender, batch))[1])
    log = open_log(tmp_path, watchdog_seconds=0.1)
    stage = set_stage(None, answered(Pieces(b"never") if operation == "watch" else b"never"), evidence=log)
    stage.caller.before = moves.clear
    outcome = await stage.handle(
        connector="crm", operation=operation, parameters={"id": "7"} if operation == "get" else None
    )
    assert (code(outcome), outcome.evidence_id) == ("evidence_unavailable", None)
    assert in_flight(stage) == 0
    moves.set()
    await until(log.writable)
    await log.close()
    again = open_log(tmp_path)
    leaves, _ = await again.recent(None, 9, None)
    await again.close()
    assert again.open_intents == []
    assert [leaf.intent for leaf in leaves if leaf.kind == "outcome"] == [0]
