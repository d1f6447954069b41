"""The count of connections: who is admitted, what the others are told, when all are gone."""

from __future__ import annotations

import asyncio

from sidecar.errors import Refused
from sidecar.wire.message import Reply, Request
from sidecar.wire.open_connections import OpenConnections, ServerLimits


class AConnection:
    idle = True
    task: asyncio.Task[None] | None = None

    def check(self, now: float) -> None:
        raise AssertionError("nobody sweeps here")

    def close(self) -> None:
        raise AssertionError("nobody drains here")

    def abort(self) -> None:
        raise AssertionError("nobody drains here")


async def handler(_: Request) -> Reply:
    return Reply(200, (), b"")


async def malformed(_: Refused, __: str) -> Reply:
    return Reply(400, (), b"")


def opened(**limits: int) -> OpenConnections:
    return OpenConnections(handler, malformed, ServerLimits(**limits))


async def test_as_many_as_the_cap_are_admitted_and_one_that_left_makes_room() -> None:
    here = opened(connections=2)
    first, second, third = AConnection(), AConnection(), AConnection()
    assert [here.admit(each) for each in (first, second, third)] == [True, True, False]
    assert (here.connections, here.connections_shed) == (2, 1)
    first.task = asyncio.create_task(asyncio.sleep(0))  # what was admitted has a task, and only it was counted
    here.forget(first)
    here.forget(third)
    assert here.connections == 1
    assert here.admit(AConnection())
    await first.task


def test_a_farewell_says_why_and_ends_the_connection() -> None:
    here = opened()
    farewell = here.farewell() or b""
    assert farewell.startswith(b"HTTP/1.1 503 ")
    assert b"too many connections are open" in farewell
    assert b"\r\nretry-after: 1\r\n" in farewell
    assert b"\r\nconnection: close\r\n" in farewell
    here.draining = True
    assert b"shutting down" in (here.farewell() or b"")
    assert not here.admit(AConnection())


def test_a_flood_over_the_cap_gets_no_farewell() -> None:
    here = opened(connections=0)
    flood = 257
    for _ in range(flood):
        assert not here.admit(AConnection())
    assert here.connections_shed == flood
    assert here.farewell() is None


def test_times_are_looked_at_in_a_quarter_of_the_shortest() -> None:
    assert ServerLimits().sweep_seconds == 0.5
    assert ServerLimits(head_seconds=1.0).sweep_seconds == 0.25
