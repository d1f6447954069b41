"""Requests answered in order, and replies that end as they should."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from sidecar.errors import Refused
from sidecar.wire.message import Reply, Request
from sidecar.wire.open_connections import ServerLimits
from sidecar.wire.server import Server
from tests.attacks.door import WAIT, Answer, Door, converse, parse, pieces_of, read_all, refuse, tell

GET = b"GET /%d HTTP/1.1\r\nHost: door\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"


class Closing:
    """A streamed body that remembers how it ended."""

    def __init__(self, *pieces: bytes, failure: Exception | None = None, gate: asyncio.Event | None = None) -> None:
        self.closed = threading.Event()
        self._pieces = pieces
        self._failure = failure
        self._gate = gate

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
            if self._gate is not None:
                await self._gate.wait()
                while True:
                    yield b"more"
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed.set()


async def answer(request: Request) -> Reply:
    """A door with one route for each kind of reply."""
    match request.target:
        case "/stream":
            return Reply(200, (), pieces_of(b"a", b"", b"bc"))
        case "/trailers":
            return Reply(200, (), pieces_of(b"a"), lambda: ((b"sidecar-evidence-id", b"o/1"),))
        case "/bad-trailers":
            return Reply(200, (), pieces_of(b"a"), lambda: ((b"a", b"b\r\nc: d"),))
        case "/fails":
            raise RuntimeError("scp_secret")
        case "/refuses":
            raise Refused("unauthenticated", "who is it?")
        case "/splits":
            return Reply(200, ((b"location", b"/\r\nset-cookie: a=b\r\n\r\nHTTP/1.1 200 OK"),), b"hi")
        case "/splits-stream":
            return Reply(200, ((b"a", b"\n"),), pieces_of(b"a"))
        case "/status":
            return Reply(99, ())
        case "/no-content":
            return Reply(204, (), b"never seen")
        case "/not-modified":
            return Reply(304, (), pieces_of(b"never seen"))
        case "/large":
            return Reply(200, (), b"x" * 3_000_000)
        case "/unread":
            return Reply(401, (), b"no")
    return await tell(request)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with Door(handler=answer) as door:
        yield door


def ask(door: Door, target: str, *, method: str = "GET", version: str = "1.1", then: bytes = b"") -> list[Answer]:
    head = f"{method} {target} HTTP/{version}\r\nHost: door\r\n\r\n".encode()
    return door.exchange(head + (then or LAST), method, end=True)


def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    answers = door.exchange(b"".join(GET % number for number in range(300)) + LAST)
    assert [answer.document["target"] for answer in answers] == [f"/{number}" for number in range(300)] + ["/last"]
    assert [answer.header("connection") for answer in answers] == [None] * 300 + ["close"]


def test_requests_before_a_malformed_one_are_answered_and_none_after_it(door: Door) -> None:
    answers = door.exchange(GET % 1 + b"GET / HTTP/1.1\r\n\r\n" + GET % 2)
    assert [answer.status for answer in answers] == [200, 400]


def test_a_peer_that_sends_no_more_is_answered_all_it_asked(door: Door) -> None:
    answers = door.exchange(GET % 1 + GET % 2 + GET % 3, end=True)
    assert [answer.document["target"] for answer in answers] == ["/1", "/2", "/3"]


def test_half_a_request_after_a_whole_one_is_malformed(door: Door) -> None:
    assert [answer.status for answer in door.exchange(GET % 1 + b"GET /", end=True)] == [200, 400]
    post = b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\n\r\nabc"
    assert [answer.status for answer in door.exchange(GET % 1 + post, end=True)] == [200, 400]
    assert [answer.status for answer in door.exchange(post, end=True)] == [400]
    assert door.exchange(b"", end=True) == []


def test_http_1_0_ends_with_its_answer(door: Door) -> None:
    answers = ask(door, "/1", version="1.0")
    assert [answer.status for answer in answers] == [200]
    assert answers[0].header("connection") == "close"


def test_a_head_request_is_answered_without_a_body(door: Door) -> None:
    first, last = ask(door, "/1", method="HEAD")
    assert (first.status, first.body, last.status) == (200, b"", 200)
    assert int(first.header("content-length") or 0) > 0
    assert ask(door, "/stream", method="HEAD")[0].body == b""
    assert [answer.status for answer in ask(door, "/fails", method="HEAD")] == [500]
    assert [answer.status for answer in ask(door, "/refuses", method="HEAD")] == [401]


def test_every_reply_is_dated_and_framed_by_us(door: Door) -> None:
    reply = ask(door, "/1")[0]
    assert [name for name, _ in reply.headers] == ["content-type", "date", "content-length"]
    assert str(reply.header("date")).endswith(" GMT")


def test_a_streamed_reply_is_chunked_and_the_connection_goes_on(door: Door) -> None:
    first, last = ask(door, "/stream")
    assert (first.header("transfer-encoding"), first.header("content-length"), first.body) == (
        "chunked",
        None,
        b"abc",
    )
    assert last.document["target"] == "/last"


def test_trailers_follow_a_streamed_reply(door: Door) -> None:
    with door.connect() as peer:
        peer.sendall(b"GET /trailers HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n")
        assert read_all(peer).endswith(b"\r\n\r\n1\r\na\r\n0\r\nsidecar-evidence-id: o/1\r\n\r\n")


def test_a_streamed_reply_to_http_1_0_ends_with_the_connection(door: Door) -> None:
    with door.connect() as peer:
        peer.sendall(b"GET /stream HTTP/1.0\r\nHost: door\r\n\r\n")
        head, _, body = read_all(peer).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert body == b"abc"


@pytest.mark.parametrize("target", ["/no-content", "/not-modified"])
def test_statuses_without_a_body_have_none(door: Door, target: str) -> None:
    first, last = ask(door, target)
    assert (first.header("content-length"), first.header("transfer-encoding"), first.body) == (None, None, b"")
    assert last.status == 200


def test_a_large_reply_arrives_whole(door: Door) -> None:
    first, last = ask(door, "/large")
    assert (len(first.body), last.status) == (3_000_000, 200)


@pytest.mark.parametrize("target", ["/fails", "/splits", "/splits-stream", "/status"])
def test_h21_a_reply_that_cannot_be_made_is_a_bare_500(
    door: Door, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answers = ask(door, target)
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(500, "internal_error")]
    assert answers[0].header("connection") == "close"
    assert b"scp_secret" not in answers[0].body
    assert "scp_secret" not in caplog.text
    assert "a reply could not be made" in caplog.text


def test_what_the_handler_refuses_is_answered_as_malformed_messages_are(door: Door) -> None:
    answers = ask(door, "/refuses")
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(401, "unauthenticated")]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_stream_that_fails_has_no_clean_end(version: str) -> None:
    body = Closing(b"first", failure=RuntimeError("upstream"))

    async def handler(request: Request) -> Reply:
        return Reply(200, (), body.stream())

    with Door(handler=handler) as door, door.connect() as peer:
        peer.sendall(f"GET / HTTP/{version}\r\nHost: door\r\n\r\n".encode())
        got = b""
        with pytest.raises(ConnectionResetError):
            while data := peer.recv(1 << 16):
                got += data
    assert b"0\r\n\r\n" not in got
    assert body.closed.is_set()


def test_bad_trailers_break_the_connection_off(door: Door) -> None:
    with door.connect() as peer:
        peer.sendall(b"GET /bad-trailers HTTP/1.1\r\nHost: door\r\n\r\n")
        got = read_all(peer)
    assert b"c: d" not in got
    assert not got.endswith(b"0\r\n\r\n")


def test_a_peer_that_leaves_ends_the_stream() -> None:
    gates: list[asyncio.Event] = []
    bodies: list[Closing] = []

    async def handler(request: Request) -> Reply:
        gates.append(asyncio.Event())
        bodies.append(Closing(b"first", gate=gates[0]))
        return Reply(200, (), bodies[0].stream())

    with Door(handler=handler) as door:
        with door.connect() as peer:
            peer.sendall(GET % 1)
            assert peer.recv(1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        door.loop.call_soon_threadsafe(gates[0].set)
        assert bodies[0].closed.wait(WAIT)


def test_a_handler_is_not_cancelled_when_its_peer_leaves() -> None:
    started, finished = threading.Event(), threading.Event()
    release: list[asyncio.Event] = []
    body = Closing(b"never sent")

    async def handler(request: Request) -> Reply:
        release.append(asyncio.Event())
        started.set()
        await release[0].wait()
        finished.set()
        return Reply(200, (), body.stream())

    with Door(handler=handler) as door:
        with door.connect() as peer:
            peer.sendall(GET % 1)
            assert started.wait(WAIT)
            assert door.server.in_flight == 1
        door.loop.call_soon_threadsafe(release[0].set)
        assert finished.wait(WAIT)
    assert door.server.in_flight == 0


def test_an_unread_body_is_skipped_and_the_connection_goes_on(door: Door) -> None:
    head = b"POST /unread HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\n\r\n"
    with door.connect() as peer:
        peer.sendall(head)
        got = peer.recv(1 << 16)
        assert parse(got)[0].status == 401
        assert parse(got)[0].header("connection") is None
        peer.sendall(b"hello" + LAST)
        assert parse(read_all(peer))[0].document["target"] == "/last"


@pytest.mark.parametrize(
    "line", [b"Content-Length: 500000", b"Transfer-Encoding: chunked", b"Content-Length: 5\r\nExpect: 100-continue"]
)
def test_an_unread_body_that_is_not_worth_skipping_ends_the_connection(door: Door, line: bytes) -> None:
    with door.connect() as peer:
        peer.sendall(b"POST /unread HTTP/1.1\r\nHost: door\r\n" + line + b"\r\n\r\n")
        reply = parse(read_all(peer))[0]
    assert (reply.status, reply.header("connection")) == (401, "close")


@pytest.mark.parametrize(
    "asked", [b"POST /unread HTTP/1.1\r\nHost: door\r\nContent-Length: 500000\r\n\r\n", LAST + GET % 1]
)
def test_a_peer_that_is_still_sending_after_its_answer_is_not_reset(door: Door, asked: bytes) -> None:
    with door.connect() as peer:
        peer.sendall(asked)
        assert parse(read_all(peer))[0].header("connection") == "close"
        for _ in range(20):
            peer.sendall(b"x" * 1000)


def test_expect_is_answered_when_the_body_is_asked_for(door: Door) -> None:
    with door.connect() as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: door\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert peer.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"hello" + LAST)
        first, last = parse(read_all(peer))
    assert (first.document["body"], last.status) == ("hello", 200)


def test_an_answer_that_fails_for_a_malformed_message_is_replaced() -> None:
    with Door() as door:

        async def broken(refused: Refused, peer: str) -> Reply:
            raise RuntimeError("no evidence")

        door.server.on_malformed = broken
        answers = door.exchange(b"GET / HTTP/1.1\r\n\r\n")
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(400, "malformed")]


async def test_pipelined_requests_leave_others_their_turn() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    written = await converse(Server(tell, refuse, ServerLimits(ahead_bytes=1 << 20)), [GET % 1 * 2000])
    beside.cancel()
    assert len(parse(written)) == 2000
    assert others > 2000 / 40
