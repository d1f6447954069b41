"""What an agent may try with time, volume and protocols, over real sockets: bounded, and others are still served."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator

import pytest

from sidecar.wire.message import Reply, Request
from sidecar.wire.open_connections import ServerLimits
from tests.attacks.door import Door, comes_true, parse, pieces_of, read_all

GET = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: door\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def door() -> Iterator[Door]:
    with Door(ServerLimits(body_bytes=1 << 21)) as door:
        yield door


def test_a73_an_h2c_upgrade_is_answered_in_http_1_1_and_nothing_after_it(door: Door) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    for body in (b"", b"hello"):
        head = b"POST / HTTP/1.1\r\nHost: door\r\n" + upgrade + b"Content-Length: %d\r\n\r\n" % len(body)
        for cut in (1, len(head), len(head) + 3):
            data = head + body + GET
            answers = door.exchange([data[:cut], data[cut:]])
            assert [(answer.status, answer.header("connection")) for answer in answers] == [(200, "close")]
            assert answers[0].document["body"] == body.decode()
            assert "upgrade" not in [name for name, _ in answers[0].document["headers"]]


def test_h10_bytes_after_an_upgrade_are_never_a_second_request(door: Door) -> None:
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: door\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    )
    assert [answer.status for answer in door.exchange(upgrade + GET)] == [400]
    assert door.heard == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_a74_the_body_of_a_get_stays_a_body(door: Door, method: str) -> None:
    head = f"{method} / HTTP/1.1\r\nHost: door\r\nContent-Length: {len(GET)}\r\n\r\n".encode()
    first, last = door.exchange(head + GET + LAST)
    assert (first.document["body"], last.document["target"]) == (GET.decode(), "/last")


def test_h07_a_million_tiny_chunks_never_hold_the_loop(door: Door) -> None:
    answers = door.exchange([CHUNKED, *[b"1\r\nx\r\n" * 50_000] * 20, b"0\r\n\r\n"])
    assert len(answers[0].document["body"]) == 1_000_000
    # The handler's own JSON of a megabyte is one turn; reading is many.
    assert door.longest_turn < 0.05


def test_h06_trailers_do_not_fill_the_memory(door: Door) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers = door.exchange([CHUNKED, b"0\r\n", *[b"a: b\r\n" * 10_000] * 200])
    assert [answer.status for answer in answers] == [431]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_h20_slow_heads_and_bodies_end_while_others_are_served() -> None:
    with Door(ServerLimits(connections=64, head_seconds=0.4, body_seconds=0.4, idle_seconds=5.0)) as door:
        slow = [door.connect() for _ in range(40)]
        for index, peer in enumerate(slow):
            peer.sendall(b"GET / HTTP/1.1\r\n" if index % 2 else CHUNKED + b"5\r\nh")
        assert [answer.status for answer in door.exchange(GET + LAST)] == [200, 200]
        trickle(slow)
        assert [parse(read_all(peer))[0].status for peer in slow] == [408] * 40
        for peer in slow:
            peer.close()


def trickle(peers: list[socket.socket]) -> None:
    """One more byte each: it buys no time."""
    for index, peer in enumerate(peers):
        peer.sendall(b"A" if index % 2 else b"e")


def test_a79_a_peer_that_does_not_read_is_cut() -> None:
    async def large(request: Request) -> Reply:
        body = b"x" * 50_000_000 if request.target == "/" else pieces_of(*[b"x" * 100_000] * 500)
        return Reply(200, (), body)

    with Door(ServerLimits(write_seconds=0.3), large) as door:
        for target in (b"/", b"/stream"):
            with door.connect() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.sendall(GET.replace(b"/ ", target + b" ", 1))
                peer.recv(1)
                gone = comes_true(lambda: door.server.connections == 0)
            assert gone


def test_h22_a_reset_at_every_state_leaks_nothing(door: Door) -> None:
    message = b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\n\r\nhello"
    for end in range(len(message) + 1):
        peer = door.connect()
        peer.sendall(message[:end])
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
    assert comes_true(lambda: door.server.connections == 0 and door.server.in_flight == 0)
    assert door.exchange(GET + LAST)[0].status == 200


def test_a_refusal_reaches_a_peer_that_is_still_sending(door: Door) -> None:
    head = b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 900000000\r\n\r\n"
    answers = door.exchange([head, *[b"x" * 10_000] * 50])
    assert [(answer.status, json.loads(answer.body)["code"]) for answer in answers] == [(413, "body_too_large")]
