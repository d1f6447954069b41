"""Accepting, counting, shedding and draining."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import pytest

from sidecar.wire.message import Reply, Request
from sidecar.wire.open_connections import ServerLimits
from sidecar.wire.server import Server
from tests.attacks.door import WAIT, Answer, Door, comes_true, parse, read_all, refuse, tell

GET = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"


class Held:
    """A handler that waits until it is told."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release: asyncio.Event | None = None

    async def __call__(self, request: Request) -> Reply:
        self.release = asyncio.Event()
        self.started.set()
        await self.release.wait()
        return await tell(request)


def test_connections_over_the_cap_are_shed_and_none_is_leaked() -> None:
    with Door(ServerLimits(connections=2)) as door:
        first, second = door.connect(), door.connect()
        assert comes_true(lambda: door.server.connections == 2)
        for _ in range(50):
            with door.connect() as third:
                reply = parse(read_all(third))[0]
            assert (reply.status, reply.document["code"]) == (503, "overloaded")
            assert (reply.header("connection"), reply.header("retry-after")) == ("close", "1")
        assert door.server.connections_shed == 50
        first.sendall(GET)
        assert parse(first.recv(1 << 16))[0].status == 200
        first.close()
        second.close()
        assert comes_true(lambda: door.server.connections == 0)
        assert door.exchange(GET, end=True)[0].status == 200


def test_swapped_limits_hold_for_new_connections() -> None:
    with Door() as door:
        door.server.swap_limits(ServerLimits(body_bytes=3))
        assert door.exchange(b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 4\r\n\r\n")[0].status == 413


def test_drain_lets_what_is_in_flight_finish() -> None:
    held = Held()
    with Door(handler=held) as door, door.connect() as busy, door.connect() as idle:
        busy.sendall(GET + GET)
        assert held.started.wait(WAIT)
        draining = asyncio.run_coroutine_threadsafe(door.server.drain(WAIT), door.loop)
        assert read_all(idle) == b""
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", door.port), timeout=WAIT)
        assert not draining.done()
        assert held.release is not None
        door.loop.call_soon_threadsafe(held.release.set)
        answers = parse(read_all(busy))
        assert [(answer.status, answer.header("connection")) for answer in answers] == [(200, "close")]
        busy.close()
        assert draining.result(WAIT) is True


def test_l09_a_peer_that_keeps_asking_while_we_drain_loses_no_request() -> None:
    """Every answer but the last keeps the connection; the last one says that it closes."""
    with Door() as door, door.connect() as peer:
        answers: list[Answer] = []
        draining = None
        while not answers or answers[-1].header("connection") != "close":
            peer.sendall(GET)
            answers += parse(peer.recv(1 << 16))
            if len(answers) == 20:
                draining = asyncio.run_coroutine_threadsafe(door.server.drain(WAIT), door.loop)
        assert {answer.status for answer in answers} == {200}
        peer.close()
        assert draining is not None
        assert draining.result(WAIT) is True


def test_drain_cuts_what_does_not_finish() -> None:
    held = Held()
    with Door(handler=held) as door, door.connect() as busy:
        busy.sendall(GET)
        assert held.started.wait(WAIT)
        assert door.run(door.server.drain(0.05)) is False
        assert read_all(busy) == b""
        assert (door.server.connections, door.server.in_flight) == (0, 0)


def reset(peer: socket.socket) -> None:
    """Leave without a word: the next thing the server hears is a RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_inv_7_drain_waits_for_the_answer_to_a_peer_that_left() -> None:
    """What was begun for it has to reach its record, and the log is closed behind the drain."""
    held = Held()
    with Door(handler=held) as door:
        with door.connect() as busy:
            busy.sendall(GET)
            assert held.started.wait(WAIT)
            reset(busy)
        assert comes_true(lambda: door.server.connections == 0)
        draining = asyncio.run_coroutine_threadsafe(door.server.drain(WAIT), door.loop)
        door.run(asyncio.sleep(0.1))
        assert not draining.done()
        assert held.release is not None
        door.loop.call_soon_threadsafe(held.release.set)
        assert draining.result(WAIT) is True


def test_drain_cuts_the_answer_to_a_peer_that_left_and_waits_until_it_is_told_off() -> None:
    told = threading.Event()

    async def handler(request: Request) -> Reply:
        try:
            return await held(request)
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)  # its record takes a moment
            told.set()
            raise

    held = Held()
    with Door(handler=handler) as door:
        with door.connect() as busy:
            busy.sendall(GET)
            assert held.started.wait(WAIT)
            reset(busy)
        assert comes_true(lambda: door.server.connections == 0)
        assert door.run(door.server.drain(0.05)) is False
        assert told.is_set()
        assert door.server.in_flight == 0


async def test_a_port_that_is_taken_is_an_error() -> None:
    one, other = Server(tell, refuse), Server(tell, refuse)
    port = await one.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await other.start("127.0.0.1", port)
    assert await one.drain(1) is True


@pytest.mark.parametrize(("limits", "seconds"), [(ServerLimits(), 0.5), (ServerLimits(head_seconds=0.4), 0.1)])
def test_the_sweep_keeps_up_with_the_shortest_limit(limits: ServerLimits, seconds: float) -> None:
    assert limits.sweep_seconds == pytest.approx(seconds)


def test_a_client_library_is_served() -> None:
    from http.client import HTTPConnection

    with Door() as door:
        client = HTTPConnection("127.0.0.1", door.port, timeout=WAIT)
        for number in range(3):
            client.request("POST", f"/{number}", body=b"x" * number)
            with client.getresponse() as reply:
                assert reply.status == 200
                reply.read()
        client.close()
        assert [request.target for request in door.heard] == ["/0", "/1", "/2"]
