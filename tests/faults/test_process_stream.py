"""Streams through a whole process: passed on as they come, covered by records, and ended in good order or told."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sidecar.model.evidence import CHUNK, INTENT, OUTCOME
from tests.e2e.far import Far, Seen
from tests.e2e.house import AGENT, TOPIC, WAIT, House, comes_true
from tests.e2e.secure import HOST, SECRET, found, secure
from tests.fakes.certificates import Authority
from tests.fakes.upstream import Conversation, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Faucet:
    """An upstream that sends what it is told, when it is told."""

    def __init__(self) -> None:
        self._given: list[bytes | None] = []

    def give(self, data: bytes | None) -> None:
        """The next piece; None ends the connection."""
        self._given.append(data)

    def _has(self, number: int) -> bool:
        return number < len(self._given)

    async def __call__(self, conversation: Conversation, _: Seen) -> bool:
        await conversation.send(HEAD)
        sent = 0
        while True:
            await until(partial(self._has, sent), WAIT)
            data = self._given[sent]
            sent += 1
            if data is None:
                return False
            await conversation.send(data)
            if data == chunk(b""):
                return True


def streaming(house: House) -> None:
    house.config["connectors"]["up"]["operations"]["watch"] = {
        "method": "GET",
        "path": "/watch/{topic}",
        "parameters": TOPIC,
        "stream": True,
    }
    house.write_config()


@contextlib.contextmanager
def watching(house: House) -> Iterator[http.client.HTTPResponse]:
    """A call of the streaming operation whose head has come."""
    connection = http.client.HTTPConnection("127.0.0.1", house.ports["access"], timeout=WAIT)
    with contextlib.closing(connection):
        body = json.dumps({"parameters": {"topic": "events"}})
        headers = {**house.headers(AGENT), "Content-Type": "application/json"}
        connection.request("POST", "/v1/connectors/up/operations/watch", body, headers)
        yield connection.getresponse()


@pytest.fixture
def faucet(far: Far) -> Faucet:
    faucet = far.behave = Faucet()
    return faucet


def test_each_event_is_passed_on_before_the_next_exists(house: House, faucet: Faucet) -> None:  # A112
    streaming(house)
    house.start()
    with watching(house) as answer:
        assert answer.status == 200
        for number in range(5):
            event = b"data: %d\n\n" % number
            faucet.give(chunk(event))
            assert answer.read(len(event)) == event
        faucet.give(chunk(b""))
        assert answer.read() == b""
    assert house.stop() == 0
    assert house.verified().unknown == []
    kinds = [leaf.kind for leaf in house.leaves()]
    assert (kinds[0], kinds[-1]) == (INTENT, OUTCOME)
    assert set(kinds[1:-1]) == {CHUNK}
    outcome = house.leaves()[-1]
    assert (outcome.code, outcome.result and outcome.result.bytes) == (None, 5 * len(b"data: 0\n\n"))


def test_a_stream_that_is_cut_is_never_taken_for_whole(house: House, faucet: Faucet) -> None:  # E26
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"half"))
        assert answer.read(4) == b"half"
        faucet.give(None)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert house.stop() == 0
    assert house.verified().unknown == []
    outcome = house.leaves()[-1]
    assert (outcome.kind, outcome.code) == (OUTCOME, "upstream_invalid")


def test_a_caller_that_leaves_its_stream_leaves_an_outcome(house: House, far: Far, faucet: Faucet) -> None:
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"half"))
        assert answer.read(4) == b"half"
        answer.close()
    for _ in range(100):
        faucet.give(chunk(b"x" * 10_000))
    assert comes_true(lambda: house.leaves()[-1].kind == OUTCOME)
    outcome = house.leaves()[-1]
    assert outcome.code == "cancelled"
    assert house.stop() == 0
    assert house.verified().unknown == []
    assert len(far.seen) == 1


def test_a_stream_ends_before_a_stopped_sidecar_does(house: House, faucet: Faucet) -> None:
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        house.signal(signal.SIGTERM)
        assert comes_true(lambda: house.probe("/readyz").status == 503)
        faucet.give(chunk(b"last"))
        faucet.give(chunk(b""))
        assert answer.read() == b"last"
    assert house.ended() == 0
    assert house.verified().unknown == []


def test_a_stream_that_was_killed_is_unknown_with_what_had_passed(house: House, faucet: Faucet) -> None:
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"seen"))
        assert answer.read(4) == b"seen"
        assert house.event("started")["unknown_outcomes"] == 0
        house.kill()
    house.start()
    assert house.event("started", 2)["unknown_outcomes"] == 1
    report = house.verified()
    assert len(report.unknown) == 1
    assert house.stop() == 0


def test_a_secret_that_is_split_over_events_is_not_passed_on(tmp_path: Path) -> None:  # A92, A107
    authority = Authority(tmp_path)
    with Far(authority.server(HOST)) as far:
        faucet = far.behave = Faucet()
        (tmp_path / "house").mkdir()
        house = House(tmp_path / "house", far.port)
        streaming(house)
        secure(house, far.port, authority.file)
        try:
            house.start()
            with watching(house) as answer:
                for at in range(len(SECRET)):
                    faucet.give(chunk(SECRET[at : at + 1].encode()))
                faucet.give(chunk(b" and the rest"))
                faucet.give(chunk(b""))
                read = answer.read()
            assert far.seen[0].headers["authorization"] == f"Bearer {SECRET}"
            assert read.endswith(b" and the rest")
            assert found(SECRET, {"read": read}) == []
            assert house.stop() == 0
        finally:
            house.kill()


def test_many_streams_and_calls_share_one_process(house: House, faucet: Faucet) -> None:
    streaming(house)
    house.start()
    read: list[bytes] = []

    def watch() -> None:
        with watching(house) as answer:
            read.append(answer.read())

    watchers = [threading.Thread(target=watch) for _ in range(8)]
    for watcher in watchers:
        watcher.start()
    pieces = [b"%d" % number * 5000 for number in range(10)]
    for piece in pieces:
        faucet.give(chunk(piece))
    faucet.give(chunk(b""))
    for watcher in watchers:
        watcher.join(WAIT)
    assert read == [b"".join(pieces)] * 8
    assert house.stop() == 0
    assert house.verified().unknown == []
