"""Requests and the bodies that are still arriving."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import Refused
from sidecar.wire.message import STREAM_BYTES, Intake, Request


class Sender:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def body_wanted(self) -> None:
        self.calls.append("wanted")

    def body_taken(self) -> None:
        self.calls.append("taken")


def request(body: bytes | Intake = b"", *headers: tuple[bytes, bytes]) -> Request:
    return Request("POST", "/", list(headers), "127.0.0.1:1", body)


async def turn() -> None:
    await asyncio.sleep(0)


async def code_of(waiting: asyncio.Future[bytes]) -> str:
    with pytest.raises(Refused) as caught:
        await waiting
    return caught.value.code


def test_a_header_has_one_value_or_none() -> None:
    asked = request(b"", (b"a", b"1"), (b"b", b"2"), (b"b", b"2"))
    assert asked.header(b"a") == b"1"
    assert asked.header(b"c") is None
    with pytest.raises(Refused) as caught:
        asked.header(b"b")
    assert caught.value.code == "malformed"


async def test_a_body_at_hand_is_read_streamed_and_bounded() -> None:
    asked = request(b"hello")
    assert await asked.read(5) == b"hello"
    assert await asked.read(5) == b"hello"
    assert [piece async for piece in asked.stream()] == [b"hello"]
    assert [piece async for piece in request().stream()] == []
    with pytest.raises(Refused) as caught:
        await asked.read(4)
    assert caught.value.code == "body_too_large"


async def test_an_arriving_body_is_waited_for_and_kept() -> None:
    intake = Intake(Sender(), 5)
    asked = request(intake)
    waiting = asyncio.ensure_future(asked.read(5))
    for piece in (b"he", b"llo"):
        await turn()
        intake.put(piece)
    await turn()
    assert not waiting.done()
    intake.finish()
    assert await waiting == b"hello"
    assert await asked.read(5) == b"hello"


async def test_a_declared_length_over_the_limit_is_not_waited_for() -> None:
    sender = Sender()
    with pytest.raises(Refused) as caught:
        await request(Intake(sender, 6)).read(5)
    assert caught.value.code == "body_too_large"
    assert sender.calls == []


async def test_an_undeclared_length_over_the_limit_ends_the_wait() -> None:
    intake = Intake(Sender(), -1)
    waiting = asyncio.ensure_future(request(intake).read(5))
    await turn()
    intake.put(b"123456")
    assert intake.full
    assert await code_of(waiting) == "body_too_large"


async def test_a_failure_reaches_who_waits_and_who_asks_later() -> None:
    intake = Intake(Sender(), 5)
    waiting = asyncio.ensure_future(request(intake).read(5))
    await turn()
    intake.fail(Refused("request_timeout", "late"))
    intake.fail(Refused("malformed", "too late to matter"))
    assert await code_of(waiting) == "request_timeout"
    with pytest.raises(Refused):
        async for _ in request(intake).stream():
            pytest.fail("there is nothing to stream")


async def test_a_failure_after_the_end_is_none() -> None:
    intake = Intake(Sender(), 0)
    intake.finish()
    intake.fail(Refused("cancelled", "gone"))
    assert await request(intake).read(0) == b""


async def test_a_stream_gives_what_there_is_and_asks_for_more() -> None:
    sender = Sender()
    intake = Intake(sender, -1)
    intake.put(b"a")
    intake.put(b"b")
    pieces = request(intake).stream()
    assert await anext(pieces) == b"ab"
    assert sender.calls == ["wanted", "taken"]
    intake.put(b"x" * STREAM_BYTES)
    was_full = intake.full
    assert len(await anext(pieces)) == STREAM_BYTES
    assert was_full
    assert not intake.full
    intake.finish()
    assert [piece async for piece in pieces] == []


async def test_a_stream_that_fails_gives_first_what_came() -> None:
    intake = Intake(Sender(), -1)
    intake.put(b"a")
    intake.fail(Refused("malformed", "bad chunk"))
    pieces = request(intake).stream()
    assert await anext(pieces) == b"a"
    with pytest.raises(Refused):
        await anext(pieces)


async def test_a_discarded_body_is_never_full() -> None:
    intake = Intake(Sender(), -1)
    intake.put(b"x" * STREAM_BYTES)
    intake.discard()
    intake.put(b"x" * STREAM_BYTES)
    assert not intake.full
    waiting = asyncio.ensure_future(intake.ended())
    await turn()
    still_waiting = not waiting.done()
    intake.finish()
    await waiting
    assert still_waiting
