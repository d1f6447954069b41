"""The agent's door on the real server, byte by byte: what the path decides is what a client reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from sidecar.errors import UpstreamFailure
from sidecar.listeners.access import AccessDoor
from sidecar.wire.server import Server
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import Stage, denying, in_flight, key_of, set_stage

ALICE = key_of("alice")
TIMEOUT = 5.0


@dataclass
class Client:
    """One connection to the door; ``raw`` sends bytes and reads until the door closes."""

    port: int

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        read = bytearray()
        try:
            writer.write(data)
            async with asyncio.timeout(TIMEOUT):
                while piece := await reader.read(1 << 16):
                    read += piece
        except ConnectionResetError:
            pass  # how a stream breaks off
        finally:
            writer.close()
        return bytes(read)

    async def post(self, target: str, body: object, key: str | None = ALICE) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and the undecoded body of one request on a connection of its own."""
        raw = json.dumps(body).encode()
        return parsed(await self.raw(request("POST", target, raw, key)))


def request(method: str, target: str, body: bytes = b"", key: str | None = ALICE, more: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(body)}"]
    if body:
        lines.append("Content-Type: application/json")
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n" + more + "\r\n").encode() + body


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    assert len(headers) == len(pairs), lines
    return int(status.split()[1]), headers, body


@pytest.fixture
async def stage() -> Stage:
    return set_stage()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[Client]:
    door = AccessDoor(stage.parts)
    server = Server(door.answer, door.malformed)
    port = await server.start("127.0.0.1", 0)
    yield Client(port)
    await server.drain(1.0)


async def test_an_allowed_call(client: Client, stage: Stage) -> None:
    body = {"plane_id": "knowledge", "action": "retrieve", "payload": {"parameters": {"id": "7"}}}
    status, headers, answer = await client.post("/v1/access", body)
    assert (status, answer) == (200, b'{"ok":true}')
    assert headers["sidecar-evidence-id"] == "acme-00000000/1"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == "11"


async def test_a_denial_is_a_problem(client: Client, stage: Stage) -> None:
    stage.engine._rule = denying(("no_grant", "Nobody granted this."))
    status, headers, answer = await client.post("/v1/connectors/crm/operations/get", {"parameters": {"id": "7"}})
    shown = json.loads(answer)
    assert (status, shown["code"], headers["content-type"]) == (403, "denied", "application/problem+json")
    assert shown["evidence_id"] == headers["sidecar-evidence-id"] == "acme-00000000/0"
    assert shown["reasons"] == [{"code": "no_grant", "message": "Nobody granted this."}]


async def test_an_unknown_caller(client: Client, stage: Stage) -> None:
    status, headers, answer = await client.post("/v1/access", "not even right", key=None)
    assert (status, json.loads(answer)["code"]) == (401, "unauthenticated")
    assert headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "message",
    [
        b"GET /v1/planes HTTP/1.1\r\n\r\n",
        b"GET /v1/planes HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/access HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET  /v1/planes HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/planes HTTP/1.1\nHost: a\n\n",
    ],
)
async def test_bytes_that_are_no_request_are_refused_recorded_and_the_connection_closed(
    client: Client, stage: Stage, message: bytes
) -> None:
    """A60, A68, A72: the record is durable before the answer, and nothing after the bytes is read."""
    status, headers, answer = parsed(await client.raw(message + request("GET", "/v1/planes")))
    shown = json.loads(answer)
    assert (status, shown["code"]) == (400, "malformed")
    assert headers["connection"] == "close"
    assert shown["evidence_id"] == "acme-00000000/0"
    assert [leaf.code for leaf in stage.evidence.leaves] == ["malformed"]
    assert (stage.evidence.leaves[0].peer or "").startswith("127.0.0.1:")


async def test_two_keys_in_one_request(client: Client, stage: Stage) -> None:
    more = f"Authorization: Bearer {key_of('bob')}\r\n"
    status, _, answer = parsed(await client.raw(request("GET", "/v1/planes", more=more)))
    assert (status, json.loads(answer)["code"]) == (400, "malformed")
    assert len(stage.evidence.leaves) == 1


@pytest.mark.parametrize("nominated", ["authorization", "Authorization, content-type", "host, content-length"])
async def test_h15_no_header_that_counts_is_taken_away_by_naming_it_in_connection(
    client: Client, stage: Stage, nominated: str
) -> None:
    body = b'{"parameters":{"id":"7"}}'
    sent = request("POST", "/v1/connectors/crm/operations/get", body, more=f"Connection: {nominated}\r\n")
    status, _, answer = parsed(await client.raw(sent))
    assert (status, answer) == (200, b'{"ok":true}')
    assert [leaf.principal for leaf in stage.evidence.leaves] == ["alice", "alice"]


async def test_a_stream_ends_with_its_evidence_id(client: Client, stage: Stage) -> None:
    stage.caller.script.insert(
        0, answered(Pieces(b"one\n", b"two\n"), 200, [(b"content-type", b"text/event-stream")])
    )
    status, headers, answer = await client.post("/v1/connectors/crm/operations/watch", {})
    assert (status, headers["transfer-encoding"], headers["trailer"]) == (200, "chunked", "sidecar-evidence-id")
    assert answer == b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\nsidecar-evidence-id: acme-00000000/2\r\n\r\n"
    assert in_flight(stage) == 0


async def test_a_stream_that_breaks_has_no_end(client: Client, stage: Stage) -> None:
    broken = UpstreamFailure("upstream_invalid", "It broke off.", sent=True)
    stage.caller.script.insert(0, answered(Pieces(b"one", broken)))
    _, _, answer = await client.post("/v1/connectors/crm/operations/watch", {})
    assert answer.startswith(b"3\r\none\r\n")
    assert b"0\r\n" not in answer
    assert stage.evidence.leaves[-1].code == "upstream_invalid"
    assert in_flight(stage) == 0


async def test_a_caller_that_leaves_does_not_stop_its_call(client: Client, stage: Stage) -> None:
    """H22: what was begun reaches its record, and every place comes back."""
    stage.caller.holds = asyncio.Event()
    begun = asyncio.Event()
    stage.caller.before = begun.set
    body = b'{"parameters":{"id":"7"}}'
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request("POST", "/v1/connectors/crm/operations/get", body))
    async with asyncio.timeout(TIMEOUT):
        await begun.wait()
        writer.transport.abort()
        ended = asyncio.Event()
        stage.evidence.before = lambda leaf: ended.set() if leaf.kind == "outcome" else None
        stage.caller.holds.set()
        await ended.wait()
    # the next call's records come after those of the first
    assert (await client.post("/v1/access", {"plane_id": "knowledge", "action": "query"}))[0] == 200
    assert stage.kinds[:2] == ["intent", "outcome"]
    assert in_flight(stage) == 0


async def test_a_caller_that_leaves_a_stream_ends_it(client: Client, stage: Stage) -> None:
    pieces = Pieces(*[b"x" * 60_000] * 2000)
    stage.caller.script.insert(0, answered(pieces))
    ended = asyncio.Event()
    stage.evidence.before = lambda leaf: ended.set() if leaf.kind == "outcome" else None
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request("POST", "/v1/connectors/crm/operations/watch", b"{}"))
    async with asyncio.timeout(TIMEOUT):
        await reader.readexactly(100_000)
        writer.transport.abort()
        await ended.wait()
        while stage.evidence.leaves[-1].kind != "outcome":  # noqa: ASYNC110  # two steps of the loop
            await asyncio.sleep(0)
    assert stage.evidence.leaves[-1].code == "cancelled"
    assert pieces.closed
    assert in_flight(stage) == 0
