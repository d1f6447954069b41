"""What becomes of a stream at each way it can end: one ending, told once, the upstream let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from sidecar.errors import Refused, SidecarError, Unavailable
from sidecar.model.principal import Principal
from sidecar.pipeline.cleaning import Cleaning
from sidecar.pipeline.relay import close, relay
from sidecar.pipeline.switches import Cut
from sidecar.rules.scrub import Scrubber
from tests.fakes.answers import Pieces

KILLED = Refused("killed", "stopped")


class Scene:
    def __init__(self, *pieces: bytes | BaseException) -> None:
        self.source = Pieces(*pieces)
        self.cut = Cut(Principal(id="alice", kind="agent", tenant="acme"), "crm")
        self.endings: list[str | None] = []
        self.durable = asyncio.Event()
        self.durable.set()

    async def begin(self) -> AsyncGenerator[bytes, None]:
        made = relay(self.source, Cleaning(Scrubber(()), None), self.cut, self.covered, self.ended, self.failed)
        assert await anext(made) == b""
        return made

    async def covered(self, part: bytes) -> bytes:
        await self.durable.wait()
        return part

    async def ended(self, ending: SidecarError | None) -> None:
        self.endings.append(ending.code if ending else None)

    def failed(self, error: Exception) -> SidecarError:
        return Unavailable("internal_error", type(error).__name__)


async def test_a_whole_stream_ends_with_nothing_wrong() -> None:
    scene = Scene(b"one", b"two")
    assert b"".join([piece async for piece in await scene.begin()]) == b"onetwo"
    assert scene.endings == [None]
    assert scene.source.closed


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Unavailable("upstream_timeout", "late"), "upstream_timeout"), (KeyError("inside"), "internal_error")],
)
async def test_a_fault_is_the_ending(fault: Exception, code: str) -> None:
    scene = Scene(b"one", fault)
    with pytest.raises(SidecarError) as caught:
        async for _ in await scene.begin():
            pass
    assert caught.value.code == code
    assert scene.endings == [code]
    assert scene.source.closed


@pytest.mark.parametrize(("error", "code"), [(None, "cancelled"), (KILLED, "killed")])
async def test_a_stream_that_is_left_says_whether_it_was_cut(error: SidecarError | None, code: str) -> None:
    scene = Scene(b"one", b"two")
    stream = await scene.begin()
    assert await anext(stream) == b"one"
    scene.cut.error = error
    await stream.aclose()
    assert scene.endings == [code]


async def test_p12_a_stream_is_cut_while_it_waits_for_evidence() -> None:
    scene = Scene(b"one")
    stream = await scene.begin()
    scene.durable.clear()
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    scene.cut.stop(KILLED)
    with pytest.raises(Refused, match="killed"):
        await reading
    assert scene.endings == ["killed"]


@pytest.mark.parametrize("cut", [False, True])
async def test_a_reader_that_is_cancelled_by_others_stays_cancelled(cut: bool) -> None:
    scene = Scene(b"one")
    stream = await scene.begin()
    scene.durable.clear()
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    if cut:
        scene.cut.stop(KILLED)
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert scene.endings == ["killed" if cut else "cancelled"]


async def test_what_cannot_be_closed_is_let_go() -> None:
    class Plain:
        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

    await close(Plain())
