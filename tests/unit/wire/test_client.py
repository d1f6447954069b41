"""The client on real sockets: pooling, bodies, timeouts, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sidecar.errors import Refused, UpstreamFailure
from sidecar.wire.client import Answer, Client, Target, Timeouts
from sidecar.wire.dial import dial
from sidecar.wire.upstream import Upstream
from tests.fakes.upstream import OK, Conversation, ScriptedUpstream, recorder, replies, until, upstream

QUICK = Timeouts(connect=2, head=2, idle=2, total=5)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    subject = Client(2)
    yield subject
    await subject.close()
    assert subject.counts() == (0, 0, 0)


def at(up: ScriptedUpstream, *addresses: str) -> Target:
    return Target("http", "api.example", up.port, addresses or ("127.0.0.1",), None)


async def get(client: Client, up: ScriptedUpstream, timeouts: Timeouts = QUICK, **options: Any) -> Answer:
    return await client.send(at(up), "GET", "/", [], b"", timeouts, **options)


async def test_one_exchange(client: Client) -> None:
    seen: list[bytes] = []
    async with upstream(recorder(seen, b"HTTP/1.1 201 Made\r\nX-Y: z\r\nContent-Length: 2\r\n\r\nok")) as up:
        answer = await client.send(at(up), "POST", "/a?b=c", [(b"accept", b"*/*")], b"body", QUICK)
        assert (answer.status, answer.peer) == (201, "127.0.0.1")
        assert answer.headers == [(b"x-y", b"z"), (b"content-length", b"2")]
        assert await answer.read(10) == b"ok"
        host = b"api.example:%d" % up.port
    head = b"POST /a?b=c HTTP/1.1\r\nhost: " + host + b"\r\naccept: */*\r\ncontent-length: 4\r\n\r\n"
    assert seen == [head + b"body"]


async def test_a_connection_is_used_again(client: Client) -> None:
    async with upstream(replies(OK)) as up:
        for _ in range(5):
            assert await (await get(client, up)).read(10) == b"ok"
            assert client.counts() == (1, 1, 0)
        assert up.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ],
)
async def test_a_connection_that_must_not_is_not_used_again(client: Client, answer: bytes) -> None:
    async with upstream(replies(answer)) as up:
        for turn in range(3):
            assert await (await get(client, up)).read(10) == b"ok"
            assert client.counts() == (0, 0, 0)
            assert up.connections == turn + 1


async def test_requests_share_no_more_than_the_limit(client: Client) -> None:
    async with upstream(replies(OK)) as up:
        bodies = await asyncio.gather(*[_read(client, up) for _ in range(40)])
        assert bodies == [b"ok"] * 40
        assert up.connections == 2
        assert client.counts() == (2, 2, 0)


async def _read(client: Client, up: ScriptedUpstream) -> bytes:
    return await (await get(client, up)).read(10)


async def test_waiting_for_a_connection_is_bounded(client: Client) -> None:
    async with upstream(replies(b"")) as up:
        busy = [asyncio.create_task(get(client, up)) for _ in range(2)]
        await until(lambda: up.connections == 2)
        with pytest.raises(UpstreamFailure, match="busy") as failure:
            await get(client, up, Timeouts(connect=0.05))
        assert (failure.value.code, failure.value.sent) == ("upstream_timeout", False)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert client.counts() == (0, 0, 0)


async def test_an_idle_connection_expires() -> None:
    client = Client(2, idle_seconds=0.02)
    async with upstream(replies(OK)) as up:
        await (await get(client, up)).read(10)
        await until(lambda: client.counts() == (0, 0, 0))
        await (await get(client, up)).read(10)
        assert up.connections == 2
    await client.close()


async def test_a_closed_idle_connection_is_noticed(client: Client) -> None:
    async with upstream(replies(OK, end=True)) as up:
        await (await get(client, up)).read(10)
        await until(lambda: client.counts() == (0, 0, 0))
        await (await get(client, up)).read(10)


async def test_only_checked_addresses_reuse_a_connection(client: Client) -> None:
    async with upstream(replies(OK), host="0.0.0.0") as up:  # every loopback address
        first = await client.send(at(up, "127.0.0.1"), "GET", "/", [], b"", QUICK)
        await first.read(10)
        second = await client.send(at(up, "127.0.0.2"), "GET", "/", [], b"", QUICK)
        await second.read(10)
        assert (first.peer, second.peer) == ("127.0.0.1", "127.0.0.2")


async def test_a_large_body_arrives_whole(client: Client) -> None:
    seen: list[bytes] = []
    body = bytes(range(256)) * 8192
    async with upstream(recorder(seen)) as up:
        answer = await client.send(at(up), "PUT", "/", [], body, QUICK)
        assert await answer.read(10) == b"ok"
        assert seen[0].endswith(b"\r\n\r\n" + body)
        assert client.counts() == (1, 1, 0)


async def pieces(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


async def test_a_streamed_body_is_chunked(client: Client) -> None:
    seen: list[bytes] = []
    async with upstream(recorder(seen)) as up:
        answer = await client.send(at(up), "POST", "/", [], pieces(b"hello", b"", b" world"), QUICK)
        assert await answer.read(10) == b"ok"
        assert client.counts() == (1, 1, 0)
    assert seen[0].endswith(b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")


async def test_a_streamed_body_waits_for_a_slow_upstream(client: Client) -> None:
    gate = asyncio.Event()
    produced = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal produced
        for _ in range(400):
            produced += 1
            yield bytes(65536)

    async def script(conversation: Conversation) -> None:
        await gate.wait()
        await conversation.read_until(b"\r\n0\r\n\r\n")
        await conversation.send(OK)
        await conversation.rest()

    async with upstream(script) as up:
        sending = asyncio.create_task(client.send(at(up), "POST", "/", [], body(), QUICK))
        await until(lambda: produced > 0)
        held = -1
        while held != produced:
            held = produced
            for _ in range(20):
                await asyncio.sleep(0.001)
        assert produced < 400
        gate.set()
        assert (await sending).status == 200


async def test_a_source_that_fails_ends_the_connection(client: Client) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("the source failed")

    async with upstream(replies(OK)) as up:
        with pytest.raises(LookupError):
            await client.send(at(up), "POST", "/", [], body(), QUICK)
        assert client.counts() == (0, 0, 0)


class Endless:
    """A body that yields once and then waits; ``stopped`` is set when it is told to stop."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x"
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


async def test_an_early_refusal_ends_the_sending(client: Client) -> None:
    body = Endless()

    async def script(conversation: Conversation) -> None:
        await conversation.read_until(b"x\r\n")
        await conversation.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nn")
        async with asyncio.timeout(2):
            await body.stopped.wait()
        await conversation.send(b"o")
        await conversation.rest()

    async with upstream(script) as up:
        answer = await client.send(at(up), "POST", "/", [], aiter(body), QUICK)
        assert (answer.status, await answer.read(10)) == (413, b"no")
        assert client.counts() == (0, 0, 0)


async def test_an_upstream_may_answer_while_it_reads(client: Client) -> None:
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await more.wait()
        yield b"y"

    async def script(conversation: Conversation) -> None:
        await conversation.read_until(b"x\r\n")
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await conversation.read_until(b"y\r\n0\r\n\r\n")
        await conversation.send(b"k")
        await conversation.rest()

    async with upstream(script) as up:
        answer = await client.send(at(up), "POST", "/", [], body(), QUICK)
        more.set()
        assert await answer.read(10) == b"ok"
        assert client.counts() == (1, 1, 0)


async def test_h22_cancelling_stops_the_source(client: Client) -> None:
    body = Endless()
    async with upstream(replies(OK)) as up:
        sending = asyncio.create_task(client.send(at(up), "POST", "/", [], aiter(body), QUICK))
        await body.begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        async with asyncio.timeout(2):
            await body.stopped.wait()
        assert client.counts() == (0, 0, 0)


async def test_a_connection_that_ends_as_it_opens_leaves_its_place(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dial_and_lose(*given: Any) -> Upstream:
        connection: Upstream = await dial(*given)
        connection.close()
        return connection

    monkeypatch.setattr("sidecar.wire.client.dial", dial_and_lose)
    async with upstream(replies(OK)) as up:
        with pytest.raises(UpstreamFailure, match="closed the connection") as failure:
            await get(client, up)
        assert not failure.value.sent
        assert client.counts() == (0, 0, 0)


async def test_the_answer_to_head(client: Client) -> None:
    async with upstream(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")) as up:
        for _ in range(2):
            answer = await client.send(at(up), "HEAD", "/", [], b"", QUICK)
            assert await answer.read(10) == b""
        assert up.connections == 1


async def test_a_body_that_ends_with_the_connection(client: Client) -> None:
    async with upstream(replies(b"HTTP/1.1 200 OK\r\n\r\nhello", end=True)) as up:
        assert await (await get(client, up)).read(10) == b"hello"
        assert client.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("partial", "timeouts", "words"),
    [
        (b"", Timeouts(head=0.05), "did not begin"),
        (b"HTTP/1.1 200 OK\r\nX:", Timeouts(head=0.05), "did not begin"),
        (b"HTTP/1.1 103 x\r\n\r\n", Timeouts(head=0.05), "did not begin"),
        (b"", Timeouts(total=0.05), "did not finish"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Timeouts(idle=0.05), "paused"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Timeouts(total=0.05), "did not finish"),
    ],
)
async def test_every_wait_is_bounded(client: Client, partial: bytes, timeouts: Timeouts, words: str) -> None:
    async with upstream(replies(partial)) as up:
        with pytest.raises(UpstreamFailure, match=words) as failure:
            await (await get(client, up, timeouts)).read(10)
        assert (failure.value.code, failure.value.sent) == ("upstream_timeout", True)
        assert client.counts() == (0, 0, 0)


async def test_a_slow_consumer_is_not_a_slow_upstream(client: Client) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + bytes(20_000_000))
        await conversation.rest()

    async with upstream(script) as up:
        answer = await get(client, up, Timeouts(idle=0.05))
        await until(lambda: answer.paused)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(await answer.read(20_000_000)) == 20_000_000


async def test_a_failed_answer_cannot_be_sent_again_by_us(client: Client) -> None:
    async with upstream(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", end=True)) as up:
        with pytest.raises(UpstreamFailure, match="upstream_invalid"):
            await (await get(client, up)).read(10)
        assert up.connections == 1


async def test_a_request_that_cannot_be_written_dials_nothing(client: Client) -> None:
    async with upstream(replies(OK)) as up:
        with pytest.raises(Refused):
            await client.send(at(up), "GET", "/", [(b"x", b"a\r\nb")], b"", QUICK)
        assert up.connections == 0


async def test_h22_cancelling_ends_the_connection(client: Client) -> None:
    async with upstream(replies(b"")) as up:
        sending = asyncio.create_task(get(client, up))
        await until(lambda: up.connections == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert client.counts() == (0, 0, 0)


async def test_a_stream_that_is_closed_early_ends_the_connection(client: Client) -> None:
    async with upstream(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")) as up:
        stream = (await get(client, up)).stream()
        assert await anext(stream) == b"ok"
        await stream.aclose()
        assert client.counts() == (0, 0, 0)


async def test_a_retired_client_finishes_what_it_began(client: Client) -> None:
    release = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK[:-1])
        await release.wait()
        await conversation.send(OK[-1:])
        await conversation.rest()

    async with upstream(script) as up:
        answer = await get(client, up)
        client.retire()
        release.set()
        assert await answer.read(10) == b"ok"
        assert client.counts() == (0, 0, 0)


async def test_a_closed_client_sends_nothing() -> None:
    client = Client(2)
    async with upstream(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")) as up:
        answer = await get(client, up)
        await client.close()
        with pytest.raises(UpstreamFailure):
            await answer.read(10)
        with pytest.raises(UpstreamFailure) as failure:
            await get(client, up)
        assert not failure.value.sent
        assert up.connections == 1
