"""What the agent's door refuses before anything is asked: bad framing, bad bodies. Each leaves one record."""

from __future__ import annotations

import json
import socket
from typing import NamedTuple

import pytest

from sidecar.model.evidence import REFUSAL
from tests.e2e.far import Far
from tests.e2e.house import AGENT, WAIT, House

PATH = "/v1/connectors/up/operations/write"
BODY = json.dumps({"parameters": {"topic": "smuggled"}})
SECOND = "POST /v1/connectors/up/operations/write HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


class Reply(NamedTuple):
    status: int
    document: dict[str, object]
    rest: bytes


def exchange(house: House, message: str) -> Reply:
    """Send ``message`` (``KEY`` stands for the agent's key) and read until the door closes."""
    with socket.create_connection(("127.0.0.1", house.ports["access"]), WAIT) as peer:
        peer.sendall(message.replace("KEY", house.keys[AGENT].key).encode("latin-1"))
        peer.shutdown(socket.SHUT_WR)
        with peer.makefile("rb") as stream:
            said = stream.read()
    head, _, body = said.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
    return Reply(int(head.split(b" ")[1]), json.loads(body[:length]), body[length:])


def post(*lines: str, body: str = BODY, target: str = PATH, host: str = "Host: 127.0.0.1") -> str:
    head = [f"POST {target} HTTP/1.1", host, "Authorization: Bearer KEY", "Content-Type: application/json", *lines]
    return "\r\n".join(line for line in head if line) + "\r\n\r\n" + body


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
FRAMING = {
    "A60-length-and-chunks": post("Content-Length: 5", CHUNKED, body="0\r\n\r\n" + SECOND),
    "A61-two-lengths": post(LENGTH, "Content-Length: 1"),
    "A66-chunks-in-1.0": post(CHUNKED, body="0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"),
    "A67-bad-chunk": post(CHUNKED, body="0x5\r\nhello\r\n0\r\n\r\n"),
    "A72-two-hosts": post("Host: other.example", LENGTH),
    "A72-no-host": post(LENGTH, host=""),
    "A53-another-authority": post(LENGTH, target=f"http://169.254.169.254{PATH}"),
    "A70-nul": post("X-Odd: a\0b", LENGTH),
}


@pytest.mark.parametrize("attack", FRAMING)
def test_a_badly_framed_message_is_refused_closed_and_recorded_once(house: House, far: Far, attack: str) -> None:
    house.start()
    reply = exchange(house, FRAMING[attack])
    assert (reply.status, reply.document["code"]) == (400, "malformed")
    assert reply.rest == b""  # nothing behind it was read as another request
    assert house.stop() == 0
    (leaf,) = house.leaves()
    assert (leaf.kind, leaf.code) == (REFUSAL, "malformed")
    assert reply.document["evidence_id"] == f"{leaf.origin}/{leaf.index}"
    assert far.connections == 0
    house.verified()


def test_the_same_message_framed_well_is_answered(house: House, far: Far) -> None:
    house.start()
    with socket.create_connection(("127.0.0.1", house.ports["access"]), WAIT) as peer:
        peer.sendall(post(LENGTH, "Connection: close").replace("KEY", house.keys[AGENT].key).encode())
        assert peer.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
    assert len(far.of("/write/smuggled")) == 1


def in_payload(parameters: str) -> bytes:
    return b'{"parameters": ' + parameters.encode() + b"}"


BODIES = {
    "H19-depth": (in_payload("[" * 100_000 + "]" * 100_000), 400, "invalid_json"),
    "H19-duplicate": (in_payload('{"topic": "a", "topic": "b"}'), 400, "invalid_json"),
    "H19-escaped-duplicate": (in_payload('{"topic": "a", "t\\u006fpic": "b"}'), 400, "invalid_json"),
    "H19-number": (in_payload('{"topic": 1e9999}'), 400, "invalid_json"),
    "half": (b'{"parameters": {"topic": ', 400, "invalid_json"),
    "not-text": (b'{"parameters": {"topic": "\xff\xfe"}}', 400, "invalid_json"),
    "empty": (b"", 400, "invalid_json"),
    "a-list": (b"[]", 422, "invalid_payload"),
    "too-large": (in_payload(json.dumps({"topic": "x" * (1 << 20)})), 413, "body_too_large"),
    "far-too-large": (in_payload(json.dumps({"topic": "x" * (8 << 20)})), 413, "body_too_large"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_no_payload_is_refused_by_name(shared: tuple[House, Far], kind: str) -> None:
    house, far = shared
    body, status, code = BODIES[kind]
    refused = house.request("POST", PATH, raw=body)
    assert (refused.status, refused.code) == (status, code), refused.body[:500]
    leaf = house.evidence(refused.evidence_id).document
    assert (leaf["kind"], leaf["code"], leaf["principal"]) == ("refusal", code, AGENT)
    assert far.seen == []


def test_who_is_not_known_learns_no_more_of_a_body_that_is_too_large(house: House) -> None:
    house.start()
    body, _, _ = BODIES["too-large"]
    assert house.request("POST", PATH, raw=body, key=None).code == "unauthenticated"
    assert house.operation("write").status == 200


def test_a_body_of_a_million_bytes_arrives_whole(house: House, far: Far) -> None:
    house.start()
    text = "x" * 1_000_000
    answered = house.operation("send", {"text": text})
    assert answered.status == 200
    assert json.loads(far.seen[0].body) == {"text": text}
    assert house.probe("/livez").status == 200
