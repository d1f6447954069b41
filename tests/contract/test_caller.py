"""What every ``Caller`` does, the fake included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from sidecar.adapters.callers.http import HttpCaller, HttpSettings
from sidecar.errors import Unavailable, UpstreamFailure
from sidecar.model.decision import Obligations, Permit
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.ports import Caller
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.upstream import Conversation, upstream

CONNECTOR = "shop"
NONE = Obligations()


class World(NamedTuple):
    """A caller, where it may call, what the upstream will do, and what it was sent."""

    caller: Caller
    destination: Destination
    reply: Reply
    sent: Callable[[], list[tuple[bytes, bytes]]]  # first line without version, and body


@pytest.fixture(params=["fake", "http"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    reply = Reply(body=b"hello")
    if request.param == "fake":
        fake = ScriptedCaller(reply)
        destination = Destination("http", "shop.example", 80, ("127.0.0.1",))
        yield World(
            fake, destination, reply, lambda: [(f"{r.method} {r.target}".encode(), r.body) for r in fake.sent]
        )
        return
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        while raw := await conversation.request():
            seen.append(raw)
            if reply.silent:
                await conversation.rest()
                return
            head = b"HTTP/1.1 %d X\r\n" % reply.status
            for header in [*reply.headers, (b"content-length", b"%d" % len(reply.body))]:
                head += b"%b: %b\r\n" % header
            half = len(reply.body) // 2
            await conversation.send(head + b"\r\n" + reply.body[:half])
            if reply.breaks:
                return
            await conversation.send(reply.body[half:])

    def sent() -> list[tuple[bytes, bytes]]:
        return [(raw.partition(b" HTTP/1.1\r\n")[0], raw.partition(b"\r\n\r\n")[2]) for raw in seen]

    caller = HttpCaller({CONNECTOR: HttpSettings(secure=False)})
    async with upstream(script) as up:
        yield World(caller, Destination("http", "shop.example", up.port, ("127.0.0.1",)), reply, sent)
        await caller.close()
    assert caller.connections(CONNECTOR) == (0, 0, 0)


def permit(obligations: Obligations = NONE, connector: str = CONNECTOR) -> Permit:
    return Permit("call", connector, "operation", "sha256:0", obligations)


def get(max_bytes: int = 100, stream: bool = False, timeout: float | None = None) -> Outbound:
    return Outbound("GET", "/items?page=1", [], b"", max_bytes, stream, timeout)


async def call(world: World, request: Outbound, allowed: Permit | None = None) -> Inbound:
    return await world.caller.call(allowed or permit(), CONNECTOR, world.destination, request)


async def whole(inbound: Inbound) -> bytes:
    if isinstance(inbound.body, bytes):
        return inbound.body
    return b"".join([piece async for piece in inbound.body])


async def test_a_request_and_its_answer(world: World) -> None:
    world.reply.status = 404
    world.reply.headers = [(b"x-a", b"1"), (b"x-a", b"2")]
    answer = await call(world, Outbound("POST", "/items?page=1", [(b"accept", b"*/*")], b"{}"))
    assert (answer.status, answer.body, answer.peer) == (404, b"hello", "127.0.0.1")
    assert answer.headers == [(b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"5")]
    assert world.sent() == [(b"POST /items?page=1", b"{}")]


async def test_a32_a_redirect_is_an_answer(world: World) -> None:
    world.reply.status = 302
    world.reply.headers = [(b"location", b"http://169.254.169.254/")]
    answer = await call(world, get())
    assert (answer.status, dict(answer.headers)[b"location"]) == (302, b"http://169.254.169.254/")
    assert len(world.sent()) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("operation", "allowed", "fits"), [(5, None, True), (4, None, False), (9, 5, True), (9, 4, False)]
)
async def test_h18_the_smaller_bound_on_bytes_holds(
    world: World, stream: bool, operation: int, allowed: int | None, fits: bool
) -> None:
    request = get(max_bytes=operation, stream=stream)
    obliged = permit(Obligations(max_bytes=allowed))
    if fits:
        assert await whole(await call(world, request, obliged)) == b"hello"
        return
    with pytest.raises(UpstreamFailure) as failure:
        await whole(await call(world, request, obliged))
    assert (failure.value.code, failure.value.sent) == ("answer_too_large", True)


async def test_a_stream_is_an_iterator(world: World) -> None:
    answer = await call(world, get(stream=True))
    assert not isinstance(answer.body, bytes)
    assert await whole(answer) == b"hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_breaks_off_is_a_failure(world: World, stream: bool) -> None:
    world.reply.breaks = True
    with pytest.raises(UpstreamFailure) as failure:
        await whole(await call(world, get(stream=stream)))
    assert (failure.value.code, failure.value.sent) == ("upstream_invalid", True)


@pytest.mark.parametrize(("operation", "allowed"), [(0.05, None), (None, 50), (60.0, 50), (0.05, 60_000)])
async def test_the_smaller_bound_on_time_holds(world: World, operation: float | None, allowed: int | None) -> None:
    world.reply.silent = True
    with pytest.raises(UpstreamFailure) as failure:
        await call(world, get(timeout=operation), permit(Obligations(timeout_ms=allowed)))
    assert (failure.value.code, failure.value.sent) == ("upstream_timeout", True)


async def test_without_a_checked_address_nothing_is_sent(world: World) -> None:
    nowhere = Destination("http", "shop.example", world.destination.port, ())
    with pytest.raises(UpstreamFailure) as failure:
        await world.caller.call(permit(), CONNECTOR, nowhere, get())
    assert not failure.value.sent
    assert world.sent() == []


async def test_a_permit_for_another_connector_is_no_permit(world: World) -> None:
    with pytest.raises(Unavailable, match="another connector"):
        await call(world, get(), permit(connector="other"))
    assert world.sent() == []
