"""Everything the path works with, built from fakes that share one journal.

``set_stage`` gives the parts together with the fakes, typed as what they are; ``make_parts`` only the parts. The
journal is what happened in order: ``ask``, ``<kind> begins``, ``<kind> durable``, ``secret``, ``send``, ``released``.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.config.sections import Config
from sidecar.errors import Unavailable
from sidecar.model.call import Call, Outcome
from sidecar.model.credential import Credential, Reference
from sidecar.model.decision import Permit, Verdict
from sidecar.model.evidence import Leaf, Receipt
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.handle import handle
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.switches import Switches
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.answers import answered
from tests.fakes.caller import ScriptedCaller, Step
from tests.fakes.clock import HeldClock
from tests.fakes.counter import BucketCounter
from tests.fakes.credentials import HeldCredentials
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.observer import RecordingObserver
from tests.fakes.policy import FakeEngine, Rule
from tests.fakes.resolver import TableResolver

ADDRESS: Final = "93.184.216.34"
ORIGIN: Final = "acme-00000000"
SECRET: Final = "s3cr3t/Value+with=odd&bytes"
REVISION: Final = "sha256:" + "0" * 64


def key_of(name: str) -> str:
    """The API key of a principal of ``CONFIG``; its id is ``key_<name>``."""
    return f"scp_key_{name}_" + (name * 43)[:43]


def hashed_key(name: str) -> list[dict[str, str]]:
    """The ``keys`` of a principal's section: the hash of ``key_of(name)``."""
    return [{"id": f"key_{name}", "sha256": hashlib.sha256(key_of(name).encode()).hexdigest()}]


ITEM: Final = {"type": "object", "required": ["id"], "properties": {"id": {"type": ["string", "integer"]}}}

CONFIG: Final[dict[str, Any]] = {
    "tenant": "acme",
    "principals": {
        "alice": {"roles": ["reader"], "labels": {"team": "support"}, "keys": hashed_key("alice")},
        "bob": {"keys": hashed_key("bob")},
        "stranger": {"tenant": "umbrella", "keys": hashed_key("stranger")},
    },
    "credentials": {
        "crm": {
            "reference": "encrypted://crm",
            "hosts": ["api.example:443"],
            "connectors": ["crm"],
            "positions": ["bearer", "basic", "header", "query"],
        }
    },
    "connectors": {
        "crm": {
            "kind": "http",
            "base_url": "https://api.example/v1",
            "auth": {"style": "bearer", "credential": "crm"},
            "operations": {
                "get": {
                    "method": "GET",
                    "path": "/items/{id}",
                    "query": {"fields": "{fields}", "page": "{page}"},
                    "headers": {"x-region": "{region}"},
                    "policy_headers": ["X-Region"],
                    "labels": {"class": "public"},
                    "parameters": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {
                            "id": {"type": ["string", "integer"]},
                            "fields": {"type": "array", "items": {"type": "string"}},
                            "page": {"type": "integer", "minimum": 1},
                            "region": {"type": "string"},
                        },
                        "additionalProperties": False,
                    },
                },
                "find": {
                    "method": "GET",
                    "path": "/items",
                    "query": {"q": "{q}"},
                    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
                    "interpreter": "json",
                },
                "add": {
                    "method": "POST",
                    "path": "/items",
                    "body": {"item": "{item}", "source": "agent"},
                    "idempotency_header": "Idempotency-Key",
                    "parameters": {"type": "object", "properties": {"item": {}}},
                },
                "watch": {"method": "GET", "path": "/events", "stream": True},
                "typed": {
                    "method": "GET",
                    "path": "/typed",
                    "answer": {"content_types": ["application/json"], "max_bytes": 1000},
                },
                "watch_typed": {
                    "method": "GET",
                    "path": "/typed",
                    "stream": True,
                    "answer": {"content_types": ["text/event-stream"]},
                },
            },
        },
        "open": {
            "kind": "http",
            "base_url": "https://open.example:8443",
            "operations": {"get": {"method": "GET", "path": "/items/{id}", "parameters": ITEM}},
        },
    },
    "sources": {"crm": {"connector": "crm"}},
    "planes": {
        "knowledge": {
            "source": "crm",
            "owner": "support",
            "actions": {"query": ["find"], "retrieve": ["get"], "search": ["find", "get"]},
        }
    },
}


def decision(allow: object = True, reasons: object = (), **obligations: object) -> bytes:
    """What a policy answers."""
    return json.dumps({"allow": allow, "reasons": reasons, "obligations": obligations}).encode()


def allowing(**obligations: object) -> Rule:
    """A policy that allows everything, with these obligations."""
    return lambda _: decision(**obligations)


def denying(*reasons: tuple[str, str]) -> Rule:
    """A policy that denies everything, for these reasons."""
    listed = [{"code": code, "message": message} for code, message in reasons]
    return lambda _: decision(allow=False, reasons=listed)


ALLOW: Final = allowing()


class _Evidence(MemoryEvidence):
    """Refuses the kinds in ``refuses``; raises ``breaks``, if set, instead of taking a record."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__(ORIGIN)
        self._journal = journal
        self.refuses: set[str] = set()
        self.breaks: Exception | None = None
        self.before: Callable[[Leaf], object] = lambda _: None  # called with each record that begins

    async def append(self, leaf: Leaf, document: bytes | None = None) -> Receipt:
        self._journal.append(f"{leaf.kind} begins")
        self.before(leaf)
        await asyncio.sleep(0)  # durability takes its time: who does not wait for it is seen
        if self.breaks is not None:
            raise self.breaks
        if leaf.kind in self.refuses:
            raise Unavailable("evidence_unavailable", "The evidence log takes no records.")
        receipt = await super().append(leaf, document)
        self._journal.append(f"{leaf.kind} durable")
        return receipt


class Sent(NamedTuple):
    """One request as the caller got it."""

    permit: Permit
    connector: str
    destination: Destination
    request: Outbound

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers by name; a name that came twice fails the test."""
        names = [name for name, _ in self.request.headers]
        assert len(names) == len(set(names)), names
        return dict(self.request.headers)


class StagedCaller(ScriptedCaller):
    """Plays the script, then answers ``answered()`` again and again; ``calls`` is everything it was handed."""

    def __init__(self, journal: list[str], script: tuple[Step, ...]) -> None:
        super().__init__(*script, answered())
        self._journal = journal
        self.calls: list[Sent] = []
        self.before: Callable[[], object] = lambda: None  # called when a request has come, before it is answered
        self.holds: asyncio.Event | None = None  # answers wait for it

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        self._journal.append("send")
        self.calls.append(Sent(permit, connector, destination, request))
        self.before()
        if self.holds is not None:
            await self.holds.wait()
        return await super().call(permit, connector, destination, request)


class _Credentials(HeldCredentials):
    def __init__(self, journal: list[str]) -> None:
        super().__init__()
        self._journal = journal
        self.put("crm", SECRET)

    async def resolve(self, reference: Reference) -> Credential:
        self._journal.append("secret")
        return await super().resolve(reference)


class _Engine(FakeEngine):
    def __init__(self, journal: list[str], rule: Rule | None) -> None:
        super().__init__(rule, REVISION)
        self._journal = journal

    async def evaluate(self, document: bytes) -> Verdict:
        self._journal.append("ask")
        return await super().evaluate(document)


@dataclass
class Stage:
    """The parts, and the fakes they are made of."""

    parts: Parts
    journal: list[str]
    engine: FakeEngine
    caller: StagedCaller
    credentials: HeldCredentials
    evidence: _Evidence
    resolver: TableResolver
    counter: BucketCounter
    clock: HeldClock
    observer: RecordingObserver
    switches: Switches

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def call(self, name: str | None = "alice", **more: Any) -> Call:
        """A call of ``name`` with their key; of ``crm``'s operation ``get`` unless something else is named."""
        if not more.keys() & {"plane", "connector", "operation"}:
            more = {"connector": "crm", "operation": "get", "parameters": {"id": "7"}} | more
        defaults = {
            "id": f"c-{next(self._numbers)}",
            "surface": "access",
            "action": "execute",
            "token": Secret(key_of(name)) if name else None,
            "peer": "127.0.0.1:4000",
        }
        return Call(**(defaults | more))

    async def handle(self, name: str | None = "alice", **more: Any) -> Outcome:
        """One call through the one path."""
        return await handle(self.parts, self.call(name, **more))

    @property
    def kinds(self) -> list[str]:
        """The kinds of the records, in order."""
        return [leaf.kind for leaf in self.evidence.leaves]


def set_stage(
    config: dict[str, Any] | Config | None = None, *script: Step, rule: Rule | None = ALLOW, **overrides: Any
) -> Stage:
    """Parts from fakes. ``script`` is the upstream's; ``rule`` None is an engine without a policy."""
    if not isinstance(config, Config):
        config = msgspec.convert(CONFIG if config is None else config, Config)
    journal: list[str] = []
    clock = HeldClock()
    evidence = _Evidence(journal)
    stage: dict[str, Any] = {
        "engine": _Engine(journal, rule),
        "caller": StagedCaller(journal, script),
        "credentials": _Credentials(journal),
        "evidence": evidence,
        "resolver": TableResolver({"api.example": (ADDRESS,), "open.example": (ADDRESS,)}),
        "counter": BucketCounter(clock),
        "clock": clock,
        "observer": RecordingObserver(),
        "switches": Switches(math.inf),
    }
    stage["switches"].known(clock.monotonic())
    given = stage | {"credentials": {"encrypted": stage["credentials"]}, "reader": evidence} | overrides
    parts = Parts(catalogue=compile_catalogue(config), own_ports=frozenset({("127.0.0.1", 8080)}), **given)
    return Stage(parts=parts, journal=journal, **stage)


def make_parts(config: dict[str, Any] | Config | None = None, **overrides: Any) -> Parts:
    """Only the parts; ``overrides`` replace ports by name."""
    return set_stage(config, **overrides).parts


def code(outcome: Outcome) -> str:
    """The code of a refusal; anything else fails the test."""
    assert outcome.problem is not None, outcome
    assert outcome.status == outcome.problem.status
    assert outcome.evidence_id == outcome.problem.evidence_id
    return outcome.problem.code


def in_flight(stage: Stage) -> int:
    """Places that were taken and not given back, everywhere."""
    return stage.parts.in_flight + sum(traffic.in_flight for traffic in stage.parts.traffic.values())


def raising(error: BaseException) -> Callable[[Outbound], Inbound]:
    """A step of the script that fails in a way no caller should."""

    def step(_: Outbound) -> Inbound:
        raise error

    return step


def changed(path: str, value: Any, config: dict[str, Any] = CONFIG) -> dict[str, Any]:
    """A copy of ``config`` with ``value`` at ``path``, such as ``connectors.crm.rate``."""
    head, _, rest = path.partition(".")
    return config | {head: changed(rest, value, config.get(head, {})) if rest else value}
