"""Kill switches on the one path: nothing is asked, sent or answered for what is stopped, and streams end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from sidecar.errors import Refused, Unavailable, UpstreamFailure
from sidecar.model.registry import SWITCH, Row
from sidecar.pipeline.reception import offer, recognise
from sidecar.pipeline.switches import Switches
from sidecar.rules.catalogue import Standing
from tests.fakes.answers import answered
from tests.fakes.parts import ALLOW, Stage, code, in_flight, set_stage

WATCH = {"connector": "crm", "operation": "watch", "parameters": None}
ALL = ("tenant:acme", "key:key_alice", "principal:alice", "connector:crm")


def row(id: str, *, deleted: bool = False) -> Row:
    return Row(
        tenant="acme",
        kind=SWITCH,
        id=id,
        version=1,
        sequence=1,
        document={"reason": "it went wild"},
        by="ada",
        at=1,
        deleted=deleted,
    )


@pytest.mark.parametrize("id", ALL)
async def test_what_is_stopped_is_refused_before_the_policy_is_asked(id: str) -> None:
    stage = set_stage()
    stage.switches.take(row(id))
    outcome = await stage.handle()
    assert (code(outcome), outcome.status) == ("killed", 403)
    assert outcome.problem is not None
    assert "it went wild" in outcome.problem.detail
    assert stage.kinds == ["refusal"]
    assert stage.journal == ["refusal begins", "refusal durable"]
    assert in_flight(stage) == 0
    stage.switches.take(row(id, deleted=True))
    assert (await stage.handle()).status == 200


@pytest.mark.parametrize("id", ["key:key_alice", "principal:alice"])
async def test_others_go_on(id: str) -> None:
    stage = set_stage()
    stage.switches.take(row(id))
    assert (await stage.handle("bob")).status == 200


async def test_a_connector_that_is_stopped_leaves_the_others() -> None:
    stage = set_stage()
    stage.switches.take(row("connector:crm"))
    assert (await stage.handle(connector="open", operation="get", parameters={"id": "1"})).status == 200
    assert code(await stage.handle(plane="knowledge", action="search", operation="find")) == "killed"


@pytest.mark.parametrize("id", ALL)
async def test_neither_the_offer_nor_what_is_read_is_for_what_is_stopped(id: str) -> None:
    stage = set_stage()
    stage.switches.take(row(id))
    allowed, outcome = await offer(stage.parts, stage.call(plane="knowledge", action="list"))
    assert (allowed, code(outcome)) == ([], "killed")
    if not id.startswith("connector:"):
        with pytest.raises(Refused, match="killed"):
            await recognise(stage.parts, stage.call())


async def test_policy_sees_every_switch_that_is_set() -> None:
    seen: list[object] = []

    def rule(asked: bytes) -> bytes | None:
        seen.append(json.loads(asked)["switches"])
        return ALLOW(asked)

    stage = set_stage(rule=rule)
    stage.switches.take(row("principal:bob"))
    stage.switches.take(row("connector:open"))
    assert (await stage.handle()).status == 200
    await offer(stage.parts, stage.call(plane="knowledge", action="list"))
    assert seen
    assert all(each == ["connector:open", "principal:bob"] for each in seen)


async def test_nothing_is_sent_where_the_switch_is_set_while_the_intent_is_recorded() -> None:
    stage = set_stage()
    stage.evidence.before = lambda _: stage.switches.take(row("principal:alice"))
    assert code(await stage.handle()) == "killed"
    assert stage.kinds == ["intent", "outcome"]
    assert not stage.caller.calls
    assert in_flight(stage) == 0


async def test_nothing_is_sent_again_once_the_switch_is_set() -> None:
    stage = set_stage(None, UpstreamFailure("upstream_unavailable", "It failed.", sent=False))
    stage.caller.before = lambda: stage.switches.take(row("connector:crm"))
    assert code(await stage.handle()) == "killed"
    assert len(stage.caller.calls) == 1
    assert stage.evidence.leaves[-1].code == "killed"
    assert in_flight(stage) == 0


async def test_an_answer_that_comes_after_the_switch_is_not_handed_out() -> None:
    stage = set_stage()
    stage.caller.before = lambda: stage.switches.take(row("key:key_alice"))
    outcome = await stage.handle()
    assert code(outcome) == "killed"
    last = stage.evidence.leaves[-1]
    assert (last.kind, last.intent, last.code) == ("outcome", 0, "killed")
    assert last.result is not None and last.result.status == 200  # the upstream did answer


async def test_a_registry_that_was_not_read_for_too_long_refuses_everything() -> None:
    switches = Switches(60.0)
    stage = set_stage(switches=switches)
    switches.known(stage.clock.monotonic())
    assert (await stage.handle()).status == 200
    stage.clock.advance(60.1)
    outcome = await stage.handle()
    assert (code(outcome), outcome.status) == ("registry_unavailable", 503)
    assert len(stage.caller.calls) == 1
    switches.known(stage.clock.monotonic())
    assert (await stage.handle()).status == 200


class Drip:
    """A streamed body that gives what it is fed, and waits otherwise."""

    def __init__(self) -> None:
        self.fed: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    def __aiter__(self) -> Drip:
        return self

    async def __anext__(self) -> bytes:
        return await self.fed.get()

    async def aclose(self) -> None:
        self.closed = True


async def watched(stage: Stage, drip: Drip, gone: list[object]) -> asyncio.Task[bytes]:
    """A stream that is being read; ``gone`` gets what ended its reading."""
    outcome = await stage.handle(**WATCH)
    assert outcome.status == 200
    assert not isinstance(outcome.body, bytes)
    body: AsyncIterator[bytes] = outcome.body

    async def read() -> bytes:
        got = b""
        try:
            async for piece in body:
                got += piece
        except Refused as error:
            gone.append(error.code)
        return got

    task = asyncio.create_task(read())
    drip.fed.put_nowait(b"data: 1\n\n")
    for _ in range(20):
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("id", ALL)
async def test_p12_an_open_stream_is_cut_while_its_upstream_is_silent(id: str) -> None:
    drip, gone = Drip(), list[object]()
    stage = set_stage(None, answered(drip, 200, [(b"content-type", b"text/event-stream")]))
    reading = await watched(stage, drip, gone)
    stage.switches.take(row(id))
    assert await asyncio.wait_for(reading, 1.0) == b"data: 1\n\n"
    assert gone == ["killed"]
    assert reading.cancelling() == 0  # whoever read it goes on
    assert drip.closed
    assert stage.kinds[-1] == "outcome"
    assert stage.evidence.leaves[-1].code == "killed"
    assert in_flight(stage) == 0


async def test_p12_a_stream_whose_reader_is_slow_is_cut_too() -> None:
    drip, room = Drip(), asyncio.Event()
    stage = set_stage(None, answered(drip, 200, [(b"content-type", b"text/event-stream")]))
    outcome = await stage.handle(**WATCH)
    body = outcome.body
    assert not isinstance(body, bytes)

    async def write() -> None:
        try:
            async for _ in body:
                await room.wait()  # as a socket without room
        finally:
            await body.aclose()  # type: ignore[attr-defined]  # a streamed body of the path can be closed

    task = asyncio.create_task(write())
    drip.fed.put_nowait(b"data: 1\n\n")
    for _ in range(20):
        await asyncio.sleep(0)
    stage.switches.take(row("principal:alice"))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1.0)
    assert stage.evidence.leaves[-1].code == "killed"
    assert drip.closed
    assert in_flight(stage) == 0


async def test_p12_a_stream_that_was_not_begun_to_be_read_is_cut_at_its_first_step() -> None:
    drip = Drip()
    stage = set_stage(None, answered(drip, 200, [(b"content-type", b"text/event-stream")]))
    outcome = await stage.handle(**WATCH)
    stage.switches.take(row("tenant:acme"))
    assert not isinstance(outcome.body, bytes)
    with pytest.raises(Refused, match="killed"):
        await anext(outcome.body)
    assert stage.evidence.leaves[-1].code == "killed"


async def test_a_stream_that_ended_by_itself_is_not_touched_by_a_later_switch() -> None:
    stage = set_stage(None, answered(b"whole"))
    assert (await stage.handle()).status == 200
    stage.switches.take(row("tenant:acme"))
    await asyncio.sleep(0)
    assert stage.kinds == ["intent", "outcome"]


async def test_streams_end_when_the_registry_was_not_read_for_too_long() -> None:
    drip, gone, switches = Drip(), list[object](), Switches(60.0)
    stage = set_stage(
        None,
        answered(drip, 200, [(b"content-type", b"text/event-stream")]),
        switches=switches,
    )
    switches.known(stage.clock.monotonic())
    reading = await watched(stage, drip, gone)
    stage.clock.advance(61)
    switches.unknown(stage.clock.monotonic())
    with pytest.raises(Unavailable, match="registry_unavailable"):
        await asyncio.wait_for(reading, 1.0)
    assert stage.evidence.leaves[-1].code == "registry_unavailable"


async def test_p12_a_stream_ends_with_its_tenants_suspension_and_with_its_key() -> None:
    served = set_stage().parts.catalogue
    unpaid = replace(served, standing=Standing(suspended=True))
    revoked = replace(served, keys={id: key for id, key in served.keys.items() if id != "key_alice"})
    for catalogue, why in ((unpaid, "tenant_suspended"), (revoked, "unauthenticated")):
        drip, gone = Drip(), list[object]()
        stage = set_stage(None, answered(drip, 200, [(b"content-type", b"text/event-stream")]))
        reading = await watched(stage, drip, gone)
        stage.switches.serve(served)
        assert gone == []
        stage.switches.serve(catalogue)
        await asyncio.wait_for(reading, 1.0)
        assert (gone, stage.evidence.leaves[-1].code, in_flight(stage)) == ([why], why, 0)


async def test_p12_no_stream_begins_for_a_key_that_was_revoked_while_its_upstream_thought() -> None:
    stage = set_stage(None, answered(Drip(), 200, [(b"content-type", b"text/event-stream")]))
    stage.caller.before = lambda: setattr(stage.parts, "catalogue", replace(stage.parts.catalogue, keys={}))
    assert code(await stage.handle(**WATCH)) == "unauthenticated"
    assert (stage.kinds[-1], stage.evidence.leaves[-1].code) == ("outcome", "unauthenticated")
    assert in_flight(stage) == 0
