"""Upstreams that are down, slow, resetting or lying, and peers that flood: counted on both sides of the process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecar.model.evidence import REFUSAL
from tests.e2e.far import Behaviour, Far, Seen, answer, resets, says, stays_silent
from tests.e2e.house import WAIT, House, comes_true, free_port
from tests.fakes.upstream import Conversation

ATTEMPTS = 3
SLOW = 1000
FLOOD = 200


def fragile(house: House, **more: object) -> None:
    """Short timeouts, three tries, a circuit that does not open by itself."""
    house.config["connectors"]["up"] |= {
        "retry": {"attempts": ATTEMPTS, "backoff_seconds": 0.01},
        "breaker": {"failures": 1000},
        "timeouts": {"connect_seconds": 1, "head_seconds": 0.3, "idle_seconds": 0.3, "total_seconds": 1.5},
        **more,
    }
    house.config["connectors"]["up"]["operations"]["send"]["answer"] = {
        "max_bytes": 1000,
        "content_types": ["application/json"],
    }
    house.write_config()


async def dribbles(conversation: Conversation, _: Seen) -> bool:
    """A body that begins and never ends."""
    await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await conversation.rest()
    return False


async def too_large_in_chunks(conversation: Conversation, _: Seen) -> bool:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with contextlib.suppress(OSError):
        await conversation.send(head + b"400\r\n" + b"x" * 1024 + b"\r\n" + b"0\r\n\r\n")
    return False


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "silent": (stays_silent, "upstream_timeout"),
    "dribbling": (dribbles, "upstream_timeout"),
    "resetting": (resets, "upstream_unavailable"),
    "closing": (says(b"", end=True), "upstream_unavailable"),
    "short": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", end=True), "upstream_invalid"),
    "two-lengths": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "upstream_invalid"),
    "length-and-chunks": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "upstream_invalid",
    ),
    "garbage": (says(b"\x00\x01\x02 this is no HTTP\r\n\r\n"), "upstream_invalid"),
    "unasked-upgrade": (
        says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "upstream_invalid",
    ),
    "wrong-type": (says(answer(b"<p>", kind="text/html")), "answer_unexpected"),
    "too-large": (says(answer(b"x" * 1001)), "answer_too_large"),
    "too-large-in-chunks": (too_large_in_chunks, "answer_too_large"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_an_upstream_has_its_own_code_and_a_post_is_sent_once(
    house: House, far: Far, fault: str
) -> None:
    fragile(house)
    far.behave, code = FAULTS[fault]
    house.start()
    refused = house.operation("send", {"text": "once"})
    assert (refused.status, refused.code) == (502, code)
    assert len(far.seen) == 1
    assert house.evidence(refused.evidence_id).document["code"] == code
    far.behave = says(answer())
    assert house.operation("send", {"text": "again"}).status == 200
    assert house.stop() == 0
    assert house.verified().unknown == []


def test_an_upstream_that_is_down_is_told_and_found_again(house: House) -> None:
    port = free_port()
    fragile(house, base_url=f"http://127.0.0.1:{port}")
    house.config["destinations"]["up"]["port"] = port
    house.write_config()
    house.start()
    refused = house.operation("write")
    assert (refused.status, refused.code) == (502, "upstream_unavailable")
    assert house.status()["ready"] == {"policy": True, "evidence": True, "registry": True, "accepting": True}


def test_a_read_is_tried_again_as_often_as_configured_and_a_write_never(house: House, far: Far) -> None:
    fragile(house)
    far.behave = resets
    house.start()
    assert house.operation("read", {"topic": "retried"}).code == "upstream_unavailable"
    assert len(far.of("/read/retried")) == ATTEMPTS
    assert house.operation("write", {"topic": "once"}).code == "upstream_unavailable"
    assert len(far.of("/write/once")) == 1
    assert [leaf.kind for leaf in house.leaves()] == ["intent", "outcome"] * 2


def test_an_open_circuit_sends_nothing_and_closes_by_one_probe(house: House, far: Far) -> None:
    fragile(house, breaker={"failures": 3, "open_seconds": 1.0})
    far.behave = resets
    house.start()
    for _ in range(3):
        assert house.operation("write").code == "upstream_unavailable"
    opened = time.monotonic()
    connections = far.connections
    codes = [house.operation("write").code for _ in range(20)]
    if time.monotonic() - opened < 1.0:  # unless the machine was so slow that a probe went out
        assert set(codes) == {"circuit_open"}
        assert (len(far.seen), far.connections) == (3, connections)
    assert comes_true(lambda: house.metric("sidecar_breaker_state", connector="up", state="open") == 1)
    assert comes_true(lambda: house.operation("write").code == "upstream_unavailable")  # the probe, which fails
    assert len(far.seen) == 4
    far.behave = says(answer())
    assert comes_true(lambda: house.operation("write").status == 200)
    assert len(far.seen) == 5
    assert house.operation("write").status == 200
    assert comes_true(lambda: house.metric("sidecar_breaker_state", connector="up", state="closed") == 1)


def test_a_flood_of_malformed_messages_is_recorded_singly_and_then_counted(house: House, far: Far) -> None:
    house.start()

    def one(_: int) -> bytes:
        with socket.create_connection(("127.0.0.1", house.ports["access"]), WAIT) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            return peer.makefile("rb").read()

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(one, range(FLOOD)))
    assert all(reply.startswith(b"HTTP/1.1 400 ") for reply in replies)
    assert house.operation("read").status == 200
    assert house.stop() == 0
    leaves = [leaf for leaf in house.leaves() if leaf.kind == REFUSAL]
    counted = sum(leaf.count or 0 for leaf in leaves)
    singly = [leaf for leaf in leaves if leaf.count is None]
    assert len(singly) + counted == FLOOD
    assert len(leaves) < FLOOD / 2
    told = sum(b'"evidence_id":"' in reply for reply in replies)
    assert told == len(singly)
    assert len(far.seen) == 1


def test_a_thousand_slow_callers_do_not_hurt_a_quick_one(house: House) -> None:  # H20
    house.config["limits"] = {"head_seconds": 4}
    house.write_config()
    house.start()
    port = house.ports["access"]
    quick: list[float] = []
    ended = asyncio.run(slowly(port, lambda: quick.extend(timed_calls(house))))
    assert len(quick) == 50
    assert sorted(quick)[25] < 0.25
    assert max(quick) < 2.0
    assert ended == SLOW  # each was answered or cut, none was kept
    assert house.stop() == 0
    house.verified()


def timed_calls(house: House) -> list[float]:
    took = []
    for _ in range(50):
        started = time.monotonic()
        assert house.operation("read").status == 200
        took.append(time.monotonic() - started)
    return took


async def slowly(port: int, meanwhile: object) -> int:
    """Hold ``SLOW`` connections with half a head each while ``meanwhile`` runs; how many the door has ended then."""
    assert callable(meanwhile)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW)]
    for _, writer in opened:
        writer.write(b"POST /v1/access HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    await asyncio.to_thread(meanwhile)
    async with asyncio.timeout(WAIT):
        ends = await asyncio.gather(*(until_end(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.close()
    return sum(ends)


async def until_end(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionError):
        said = await reader.read()
        return said == b"" or said.startswith(b"HTTP/1.1 408 ")
    return True
