"""Reading an answer at one's own pace."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import UpstreamFailure
from sidecar.wire.answer import HIGH_WATER, LOW_WATER, Answer


class Source:
    def __init__(self) -> None:
        self.log: list[str] = []

    def pause(self) -> None:
        self.log.append("pause")

    def resume(self) -> None:
        self.log.append("resume")

    def abort(self) -> None:
        self.log.append("abort")


def answer() -> tuple[Answer, Source]:
    source = Source()
    return Answer(source, "192.0.2.1"), source


def broken() -> UpstreamFailure:
    return UpstreamFailure("upstream_unavailable", "gone", sent=True)


async def test_a_whole_answer_is_read_at_once() -> None:
    subject, source = answer()
    subject.put([b"he", b"llo"])
    subject.end()
    assert await subject.read(5) == b"hello"
    assert source.log == []


async def test_reading_waits_for_the_rest() -> None:
    subject, _ = answer()
    subject.put([b"he"])
    reading = asyncio.create_task(subject.read(5))
    await asyncio.sleep(0)
    subject.put([b"llo"])
    await asyncio.sleep(0)
    assert not reading.done()
    subject.end()
    assert await reading == b"hello"


@pytest.mark.parametrize("ended", [False, True])
async def test_h18_no_more_than_the_limit_is_read(ended: bool) -> None:
    subject, source = answer()
    subject.put([b"hello"])
    if ended:
        subject.end()
    with pytest.raises(UpstreamFailure) as failure:
        await asyncio.wait_for(subject.read(4), 2)
    assert (failure.value.code, failure.value.sent) == ("answer_too_large", True)
    assert ("abort" in source.log) is not ended


async def test_an_announced_length_beyond_the_limit_is_not_waited_for() -> None:
    subject, source = answer()
    subject.headers = [(b"content-length", b"6")]
    with pytest.raises(UpstreamFailure, match="answer_too_large"):
        await asyncio.wait_for(subject.read(5), 2)
    assert source.log == ["abort"]


async def test_the_length_of_an_answer_without_body_does_not_matter() -> None:
    subject, _ = answer()
    subject.headers = [(b"content-length", b"6")]  # as for HEAD and 304
    subject.end()
    assert await subject.read(5) == b""


async def test_h18_a_stream_stops_before_the_piece_that_is_too_much() -> None:
    subject, source = answer()
    subject.put([b"he", b"llo"])
    seen = []
    with pytest.raises(UpstreamFailure, match="answer_too_large"):
        async with asyncio.timeout(2):
            async for piece in subject.stream(4):
                seen.append(piece)
    assert seen == [b"he"]
    assert "abort" in source.log


async def test_what_came_before_a_failure_is_handed_over_then_the_failure() -> None:
    subject, _ = answer()
    subject.put([b"he"])
    subject.end(broken())
    seen = []
    with pytest.raises(UpstreamFailure, match="gone"):
        async for piece in subject.stream():
            seen.append(piece)
    assert seen == [b"he"]
    with pytest.raises(UpstreamFailure, match="gone"):
        await subject.read(10)


async def test_a_slow_consumer_pauses_the_upstream() -> None:
    subject, source = answer()
    pieces = [b"x" * (LOW_WATER // 2)] * (2 * HIGH_WATER // LOW_WATER)
    subject.put(pieces)
    assert source.log == []
    subject.put([b"x"])
    assert source.log == ["pause"]
    stream = subject.stream()
    taken = 0
    while "resume" not in source.log:
        taken += len(await anext(stream))
    assert HIGH_WATER - LOW_WATER < taken <= HIGH_WATER
    assert not subject.paused


async def test_nothing_is_asked_of_a_connection_that_serves_others_now() -> None:
    subject, source = answer()
    subject.put([b"x" * (HIGH_WATER + 1)])
    subject.end()
    source.log.clear()
    assert len(b"".join([piece async for piece in subject.stream()])) == HIGH_WATER + 1
    subject.abort()
    assert source.log == []


async def test_closing_a_stream_early_ends_the_connection() -> None:
    subject, source = answer()
    subject.put([b"a", b"b"])
    stream = subject.stream()
    assert await anext(stream) == b"a"
    await stream.aclose()
    assert source.log == ["abort"]
