"""One connection, step by step, on a transport that only takes notes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import pytest

from sidecar.errors import UpstreamFailure
from sidecar.wire.answer import HIGH_WATER, Answer
from sidecar.wire.deadlines import Deadlines, Timeouts
from sidecar.wire.upstream import Upstream
from tests.fakes.upstream import OK

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TIMES = Timeouts()


class Transport(asyncio.Transport):
    """Takes notes; its socket is one end of a pair, so that its readiness is real."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.log: list[str] = []
        self.written = b""
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return "close" in self.log or "abort" in self.log

    def pause_reading(self) -> None:
        self.log.append("pause")

    def resume_reading(self) -> None:
        self.log.append("resume")

    def close(self) -> None:
        self.log.append("close")

    def abort(self) -> None:
        self.log.append("abort")


class Home:
    def __init__(self) -> None:
        self.log: list[str] = []

    def free(self, connection: Upstream) -> None:
        self.log.append("free")

    def gone(self, connection: Upstream) -> None:
        self.log.append("gone")


class Bench:
    """A connection with everything around it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.transport = Transport(self.near)
        self.home = Home()
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.upstream = Upstream("192.0.2.1", self.deadlines, idle_seconds=30)
        self.upstream.connection_made(self.transport)
        self.upstream.home = self.home

    def ask(self, timeouts: Timeouts = TIMES, *, whole: bool = True) -> tuple[Answer, asyncio.Future[None]]:
        total_at = asyncio.get_running_loop().time() + timeouts.total
        return self.upstream.ask(
            b"GET", whole=whole, to_head=False, head_bytes=1000, timeouts=timeouts, total_at=total_at
        )

    def due_in(self) -> float:
        return self.upstream.deadline - asyncio.get_running_loop().time()

    def is_gone(self) -> bool:
        return self.home.log == ["gone"] and self.upstream.closed and len(self.deadlines) == 0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    subject = Bench()
    yield subject
    subject.deadlines.close()
    subject.near.close()
    subject.far.close()


async def test_a_clean_exchange_frees_the_connection(bench: Bench) -> None:
    answer, head = bench.ask()
    assert (bench.transport.written, bench.upstream.fit()) == (b"GET", False)
    bench.upstream.data_received(OK)
    assert head.done()
    assert (answer.status, await answer.read(9)) == (200, b"ok")
    assert bench.home.log == ["free"]
    assert bench.upstream.fit()
    assert bench.transport.log == []


async def test_every_phase_has_its_deadline(bench: Bench) -> None:
    assert bench.upstream.deadline == inf
    bench.ask(Timeouts(head=10, idle=20, total=100))
    assert 9 < bench.due_in() <= 10
    bench.upstream.data_received(OK[:-2])
    assert 19 < bench.due_in() <= 20
    bench.upstream.data_received(OK[-2:])
    assert 29 < bench.due_in() <= 30
    bench.ask(Timeouts(head=10, idle=20, total=5))
    assert 4 < bench.due_in() <= 5


async def test_bytes_for_nobody_close_it(bench: Bench) -> None:
    bench.upstream.data_received(OK)
    assert bench.transport.log == ["close"]
    assert bench.is_gone()


async def test_unread_bytes_make_it_unfit(bench: Bench) -> None:
    assert bench.upstream.fit()
    bench.far.send(b"x")
    assert not bench.upstream.fit()


async def test_an_end_nobody_has_read_yet_makes_it_unfit(bench: Bench) -> None:
    bench.far.shutdown(socket.SHUT_WR)
    assert not bench.upstream.fit()


@pytest.mark.parametrize("why", ["surplus", "unsent", "unfinished request", "close"])
async def test_what_forbids_another_request(bench: Bench, why: str) -> None:
    answer, _ = bench.ask(whole=why != "unfinished request")
    bench.transport.unsent = 1 if why == "unsent" else 0
    reply = OK.replace(b"OK", b"OK\r\nConnection: close") if why == "close" else OK
    bench.upstream.data_received(reply + b"x" if why == "surplus" else reply)
    assert await answer.read(9) == b"ok"
    assert bench.is_gone()


async def test_a_refused_answer_ends_it(bench: Bench) -> None:
    answer, head = bench.ask()
    bench.upstream.data_received(b"nonsense")
    assert head.done()
    assert (answer.status, answer.failure is not None and answer.failure.code) == (0, "upstream_invalid")
    assert bench.transport.log == ["abort"]
    assert bench.is_gone()


@pytest.mark.parametrize(
    ("before", "reset", "code"),
    [
        (b"", False, "upstream_unavailable"), (b"", True, "upstream_unavailable"),
        (b"HTTP/1.1", False, "upstream_invalid"), (b"HTTP/1.1", True, "upstream_unavailable"),
        (OK[:-1], False, "upstream_invalid"), (OK[:-1], True, "upstream_unavailable"),
        (b"HTTP/1.1 200 OK\r\n\r\nhe", True, "upstream_unavailable"),
        (b"HTTP/1.1 200 OK\r\n\r\nhe", False, "upstream_invalid"),  # lost without an end in good order
    ],
)  # fmt: skip
async def test_a_lost_connection(bench: Bench, before: bytes, reset: bool, code: str) -> None:
    answer, _ = bench.ask()
    if before:
        bench.upstream.data_received(before)
    bench.upstream.connection_lost(ConnectionResetError() if reset else None)
    assert answer.failure is not None
    assert (answer.failure.code, answer.failure.sent) == (code, True)
    assert bench.is_gone()
    await bench.upstream.ended()


async def test_an_end_in_good_order_completes_what_has_no_length(bench: Bench) -> None:
    answer, _ = bench.ask()
    bench.upstream.data_received(b"HTTP/1.1 200 OK\r\n\r\nhello")
    bench.upstream.eof_received()
    assert await answer.read(9) == b"hello"
    assert bench.is_gone()


async def test_a_deadline_that_passes(bench: Bench) -> None:
    answer, _ = bench.ask()
    bench.upstream.expire()
    assert answer.failure is not None
    assert answer.failure.code == "upstream_timeout"
    assert bench.is_gone()


async def test_resting_too_long_closes_it(bench: Bench) -> None:
    bench.upstream.expire()
    assert bench.transport.log == ["close"]
    assert bench.is_gone()


async def test_leaving_happens_once(bench: Bench) -> None:
    bench.ask()
    bench.upstream.abort()
    bench.upstream.close()
    bench.upstream.connection_lost(None)
    assert bench.is_gone()


async def test_a_closed_connection_takes_no_request(bench: Bench) -> None:
    bench.upstream.close()
    with pytest.raises(UpstreamFailure) as failure:
        bench.ask()
    assert not failure.value.sent
    assert bench.transport.written == b""


async def test_a_slow_consumer_stops_the_reading_and_the_idle_clock(bench: Bench) -> None:
    answer, _ = bench.ask(Timeouts(idle=1, total=100))
    size = HIGH_WATER + 2
    bench.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size - 1))
    assert bench.transport.log == ["pause"]
    assert bench.due_in() > 50
    stream = answer.stream()
    assert len(await anext(stream)) == size - 1
    assert bench.transport.log == ["pause", "resume"]
    assert bench.due_in() <= 1
    await stream.aclose()


async def test_an_answer_that_ends_while_paused_leaves_a_reading_connection(bench: Bench) -> None:
    bench.ask()
    size = HIGH_WATER + 1
    bench.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    assert bench.transport.log == ["pause", "resume"]
    assert bench.home.log == ["free"]


async def test_h07_a_backlog_is_read_in_turns(bench: Bench) -> None:
    answer, _ = bench.ask()
    bench.upstream.data_received(CHUNKED + b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n")
    assert (bench.transport.log, answer.ended) == (["pause"], False)
    assert await answer.read(30_000) == b"x" * 30_000
    assert bench.transport.log == ["pause", "resume"]
    assert bench.home.log == ["free"]


async def test_a_backlog_waits_for_a_slow_consumer(bench: Bench) -> None:
    answer, _ = bench.ask()
    big = b"10000\r\n" + bytes(65536) + b"\r\n"
    bench.upstream.data_received(CHUNKED + big * 5 + b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n")
    for _ in range(10):
        await asyncio.sleep(0)
    assert not answer.ended
    assert len(await answer.read(1 << 20)) == 5 * 65536 + 30_000
    assert bench.home.log == ["free"]


async def test_an_end_behind_a_backlog_is_still_an_end(bench: Bench) -> None:
    answer, _ = bench.ask()
    bench.upstream.data_received(CHUNKED + b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n")
    bench.upstream.eof_received()
    assert answer.ended
    assert len(await answer.read(30_000)) == 30_000


async def test_closing_does_not_wait_for_an_upstream_that_takes_nothing(bench: Bench) -> None:
    bench.transport.unsent = 1
    bench.upstream.close()
    assert bench.transport.log == ["abort"]
