"""What a sidecar keeps does not grow with what callers send: peers, keys, names, sessions, payloads, refusals.

Everything that its long-lived parts refer to is counted, however deep, after a thousand calls that have nothing in
common, and again after as many more.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import orjson

from sidecar.adapters.counting import LocalCounter
from sidecar.adapters.observation.fanout import Observers
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import JsonLogObserver
from sidecar.adapters.observation.metrics import MetricsObserver
from sidecar.adapters.resolution import SystemResolver
from sidecar.listeners.access import AccessDoor
from sidecar.model.credential import Credential, Reference
from sidecar.model.decision import Permit, Reads, Verdict
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.decisions import DecisionCache
from sidecar.pipeline.reception import record_counted
from sidecar.wire.message import Reply, Request
from tests.evidence import RealClock, open_log
from tests.fakes.parts import ADDRESS, CONFIG, REVISION, SECRET, decision, key_of, set_stage
from tests.fakes.upstream import until

CALLS: Final = 1000
_NOT_HELD: Final = (ModuleType, FunctionType, MethodType, type, asyncio.AbstractEventLoop)


class Clock(RealClock):
    """``passed``: seconds that went by at once."""

    passed = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


class Far:
    """An upstream that answers in each way there is, and keeps nothing."""

    def __init__(self) -> None:
        self._number = itertools.count()

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        number = next(self._number)
        headers = [(b"content-type", b"application/json"), (b"x-%d" % number, b"y"), (b"etag", b"%d" % number)]
        body: bytes | AsyncIterator[bytes] = b'{"n":%d}' % number
        if request.stream:
            body = _pieces(number)
        return Inbound((200, 404, 503, 401)[number % 4], headers, body, ADDRESS)


async def _pieces(number: int) -> AsyncIterator[bytes]:
    for at in range(3):
        yield b"data: %d-%d\n\n" % (number, at)


class Engine:
    """Allows what does not ask for it to be denied."""

    revision = REVISION
    reads_destination = False
    reads = Reads(REVISION, (("input", "parameters"), ("input", "principal", "id")), ())

    async def evaluate(self, document: bytes) -> Verdict:
        return Verdict(REVISION, decision(allow=b"deny" not in document))

    async def evaluate_all(self, documents: Iterable[bytes]) -> list[Verdict]:
        return [await self.evaluate(document) for document in documents]


class Credentials:
    async def resolve(self, reference: Reference) -> Credential:
        return Credential(Secret(SECRET), "1")


def requests(first: int) -> Iterable[Request]:
    """So many requests that have nothing in common."""
    for number in range(first, first + CALLS):
        name = ("alice", "bob", "stranger")[number % 3]
        token = key_of(name) if number % 4 else f"scp_{number}_" + "x" * 43
        headers = [
            (b"host", b"door"),
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"sidecar-session", b"s%d" % number),
            (b"traceparent", b"00-%032x-%016x-01" % (number + 1, number + 1)),
        ]
        peer = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:{number % 60000}"
        parameters: dict[str, Any] = {"id": f"{number}", "page": number % 5}
        target = (
            "/v1/connectors/crm/operations/get",
            "/v1/connectors/crm/operations/watch",
            f"/v1/connectors/c{number}/operations/get",
            "/v1/connectors/open/operations/get",
            f"/v1/planes/p{number}/operations",
            "/v1/planes/knowledge/operations",
            f"/v1/nowhere/{number}",
        )[number % 7]
        if target.endswith("watch"):
            parameters = {}
        if number % 11 == 0:
            parameters[f"unknown{number}"] = "deny"
        method = "GET" if "planes" in target else "POST"
        body = orjson.dumps({"parameters": parameters, "idempotency_key": f"k{number}"}) if method == "POST" else b""
        yield Request(method, target, headers, peer, body)


async def read(reply: Reply) -> None:
    if not isinstance(reply.body, bytes):
        async for _ in reply.body:
            pass


def held(*roots: object) -> Counter[str]:
    """How much everything that ``roots`` lead to holds: the length of all containers, by the type that has them."""
    found: Counter[str] = Counter()
    left: list[tuple[object, str]] = [(root, type(root).__name__) for root in roots]
    seen: set[int] = set()
    while left:
        value, owner = left.pop()
        if id(value) in seen or isinstance(value, _NOT_HELD):
            continue
        seen.add(id(value))
        if isinstance(value, (dict, list, set, frozenset, tuple, deque)):
            found[owner] += len(value)
        else:
            owner = type(value).__name__
            found[owner] += 1
        left.extend((inside, owner) for inside in gc.get_referents(value))
    return found


async def test_what_a_sidecar_keeps_does_not_grow_with_its_calls(tmp_path: Path) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    clock, lines, engine = Clock(), LineWriter(quiet), Engine()
    observer = Observers(MetricsObserver(clock), JsonLogObserver(lines))
    log = open_log(tmp_path, segment_bytes=1 << 26, observer=observer)
    parts = set_stage(
        CONFIG | {"limits": {"principal": {"requests": 1_000_000, "burst": 1_000_000}}},
        evidence=log,
        reader=log,
        clock=clock,
        observer=observer,
        counter=LocalCounter(clock),
        caller=Far(),
        engine=engine,
        decisions=DecisionCache(engine, 50),
        resolver=SystemResolver(clock, {"api.example": (ADDRESS,), "open.example": (ADDRESS,)}),
        credentials={"encrypted": Credentials()},
    ).parts
    parts.switches.known(clock.monotonic())
    door = AccessDoor(parts)

    async def serve(first: int) -> Counter[str]:
        gate = asyncio.Semaphore(32)

        async def one(request: Request) -> None:
            async with gate:
                await read(await door.answer(request))

        await asyncio.gather(*[one(request) for request in requests(first)])
        await record_counted(parts, door.new_id)
        clock.passed += 60.0
        parts.switches.known(clock.monotonic())
        await read(await door.answer(Request("GET", "/v1/nowhere", [], "10.0.0.1:1")))  # the windows of floods end
        await until(lambda: not lines._lines)
        gc.collect()
        return held(parts, door)

    before = await serve(0)
    after = await serve(CALLS)
    await log.close()
    lines.close()
    os.close(quiet)
    assert {name: (before[name], count) for name, count in after.items() if count > before[name] + CALLS // 50} == {}
    assert parts.in_flight == 0
