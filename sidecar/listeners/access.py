"""The agent's door: ``/v1`` on HTTP/1.1. Bytes to Call, Outcome to bytes; every decision is the pipeline's."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, Final

import msgspec

from sidecar.errors import Refused, SidecarError, Unavailable
from sidecar.listeners.routes import AGENT, Route, Routes
from sidecar.model.call import Call, Outcome
from sidecar.model.evidence import Leaf
from sidecar.model.secret import Secret
from sidecar.pipeline.handle import handle
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.reception import offer, recognise, turn_away
from sidecar.pipeline.record import agents_view
from sidecar.pipeline.select import EXECUTE
from sidecar.rules.documents import parse_json
from sidecar.rules.tracing import accepted
from sidecar.wire.message import Reply, Request

SURFACE: Final = "access"
ACTIONS: Final = ("query", "retrieve", "search", "list")
_OFF_LOOP_BYTES: Final = 1 << 17  # a larger body is parsed in a thread: it would hold the loop for milliseconds
_MOST_LISTED: Final = 500
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_LONGEST_NAME: Final = 256
_encode = msgspec.json.Encoder(order="deterministic").encode

Handler = Callable[[Request, dict[str, str]], Awaitable[Reply]]


class AccessDoor:
    """Serves the access API over ``parts``. Give its methods to ``wire.server.Server``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._run = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._routes: Routes[Handler] = Routes(
            [
                Route("POST", "/v1/access", AGENT, self._access),
                Route("POST", "/v1/connectors/{connector}/operations/{operation}", AGENT, self._execute),
                Route("GET", "/v1/planes", AGENT, self._planes),
                Route("GET", "/v1/planes/{plane}/operations", AGENT, self._operations),
                Route("GET", "/v1/evidence", AGENT, self._evidence),
                Route("GET", "/v1/evidence/{origin}/{index}", AGENT, self._one_evidence),
            ]
        )

    async def answer(self, request: Request) -> Reply:
        """One request, one reply. What the door itself refuses is recorded like any refusal."""
        try:
            path = request.target.partition("?")[0]
            found = self._routes.find(request.method, path)
            return await found.handler(request, found.values)
        except SidecarError as error:
            refused = await self._refused(request, error)
            if refused.status != 405:
                return refused
            allowed = ", ".join(self._routes.methods(request.target.partition("?")[0]))
            return refused._replace(headers=[*refused.headers, (b"allow", allowed.encode("ascii"))])
        except Exception as error:  # a fault of our own outside of any call, which would have recorded it
            self._parts.observer.observe("failure", {"error": type(error).__name__})
            return await self._refused(
                request, Unavailable("internal_error", "The sidecar failed while handling the request.")
            )

    async def malformed(self, error: Refused, peer: str) -> Reply:
        """The reply to bytes that are not an acceptable request."""
        return reply(await turn_away(self._parts, self._call(None, peer), error))

    def new_id(self) -> str:
        """A call id: unique over processes and restarts."""
        return f"{self._run}-{next(self._numbers):x}"

    async def _access(self, request: Request, _: dict[str, str]) -> Reply:
        body = _members(await self._json(request), {"plane_id", "action", "payload"})
        plane, action = body.get("plane_id"), body.get("action")
        payload = _members(body.get("payload", {}), {"operation", "parameters", "idempotency_key"})
        if not _name(plane):
            raise Refused("invalid_payload", "plane_id must name a plane; GET /v1/planes lists them.")
        if action not in ACTIONS:
            raise Refused("unsupported_action", f"action must be one of {', '.join(ACTIONS)}.")
        operation = payload.get("operation")
        if operation is not None and not _name(operation):
            raise Refused("invalid_payload", "payload.operation must be the name of an operation.")
        call = self._call(request, request.peer, action=action, plane=plane, operation=operation, **_sent(payload))
        return reply(await handle(self._parts, call))

    async def _execute(self, request: Request, at: dict[str, str]) -> Reply:
        payload = _members(await self._json(request), {"parameters", "idempotency_key"})
        call = self._call(
            request, request.peer, connector=at["connector"], operation=at["operation"], **_sent(payload)
        )
        return reply(await handle(self._parts, call))

    async def _planes(self, request: Request, _: dict[str, str]) -> Reply:
        await self._admit(request)
        planes = self._parts.catalogue.planes.values()
        return _document(
            {"planes": [{"id": plane.id, "source": plane.source, "actions": plane.actions} for plane in planes]}
        )

    async def _operations(self, request: Request, at: dict[str, str]) -> Reply:
        call = self._call(request, request.peer, action="offer", plane=at["plane"])
        offered, outcome = await offer(self._parts, call)
        if outcome.problem is not None:
            return reply(outcome)
        return _document(
            {
                "plane": at["plane"],
                "operations": [
                    {
                        "action": one.action,
                        "operation": one.operation.id,
                        "effect": one.operation.effect,
                        "parameters": one.operation.schema,
                    }
                    for one in offered
                ],
            },
            outcome,
        )

    async def _evidence(self, request: Request, _: dict[str, str]) -> Reply:
        principal = await self._admit(request)
        query = _query(request.target, {"limit", "before"})
        limit = _number(query, "limit", 50, _MOST_LISTED)
        before = _number(query, "before", None, 1 << 62)
        leaves, following = await self._parts.reader.recent(principal, limit or 1, before)
        return _document(
            {"records": [agents_view(leaf) for leaf in leaves if self._is_own(leaf, principal)], "next": following}
        )

    async def _one_evidence(self, request: Request, at: dict[str, str]) -> Reply:
        principal = await self._admit(request)
        leaf: Leaf | None = None
        if at["origin"] == self._parts.evidence.origin and at["index"].isdecimal() and len(at["index"]) < 20:
            leaf = await self._parts.reader.read(int(at["index"]))
        if leaf is None or not self._is_own(leaf, principal):
            # Whether another's record exists is not for this caller to learn.
            raise Refused("unknown_evidence", "No record of yours has this id.")
        return _document(agents_view(leaf))

    def _is_own(self, leaf: Leaf, principal: str) -> bool:
        return leaf.principal == principal and leaf.tenant == self._parts.catalogue.tenant

    async def _admit(self, request: Request) -> str:
        return (await recognise(self._parts, self._call(request, request.peer, action="read"))).id

    async def _refused(self, request: Request, error: SidecarError) -> Reply:
        try:
            call = self._call(request, request.peer)
        except Refused as unreadable:  # two keys: neither counts
            call, error = self._call(None, request.peer), unreadable
        return reply(await turn_away(self._parts, call, error))

    async def _json(self, request: Request) -> Any:
        kind = request.header(b"content-type")
        if kind is None or kind.partition(b";")[0].strip().lower() != b"application/json":
            raise Refused("unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.")
        raw = await request.read(self._parts.catalogue.limits.body_bytes)
        return parse_json(raw) if len(raw) < _OFF_LOOP_BYTES else await asyncio.to_thread(parse_json, raw)

    def _call(self, request: Request | None, peer: str, *, action: str = EXECUTE, **more: Any) -> Call:
        return Call(
            id=self.new_id(),
            surface=SURFACE,
            action=action,
            token=_token(request) if request else None,
            session=_session(request) if request else None,
            traceparent=accepted(request.header(b"traceparent")) if request else None,
            peer=peer,
            **more,
        )


def reply(outcome: Outcome) -> Reply:
    """An outcome as HTTP: the upstream's status and the interpreted body, or the problem document."""
    headers = [*outcome.headers, (b"sidecar-call-id", outcome.call_id.encode("ascii"))]
    if outcome.evidence_id is not None:
        headers.append((b"sidecar-evidence-id", outcome.evidence_id.encode("ascii")))
    if outcome.problem is None:
        final = outcome.final_evidence_id
        if final is None:
            return Reply(outcome.status, headers, outcome.body)
        headers.append((b"trailer", b"sidecar-evidence-id"))
        return Reply(outcome.status, headers, outcome.body, lambda: _trailers(final()))
    headers += [_PROBLEM, (b"cache-control", b"no-store")]
    if outcome.retry_after is not None:
        headers.append((b"retry-after", str(max(1, ceil(outcome.retry_after))).encode("ascii")))
    if outcome.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Reply(outcome.status, headers, _encode(outcome.problem))


def _trailers(evidence_id: str | None) -> list[tuple[bytes, bytes]]:
    return [(b"sidecar-evidence-id", evidence_id.encode("ascii"))] if evidence_id else []


def _document(value: object, outcome: Outcome | None = None) -> Reply:
    headers = [_JSON, (b"cache-control", b"no-store")]
    if outcome is not None and outcome.evidence_id is not None:
        headers.append((b"sidecar-evidence-id", outcome.evidence_id.encode("ascii")))
    return Reply(200, headers, _encode(value))


def _members(value: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("invalid_payload", f"An object with {', '.join(sorted(known))} is needed.")
    if not known.issuperset(value):
        unknown = sorted(name[:_LONGEST_NAME] for name in value if name not in known)[:10]
        raise Refused(
            "invalid_payload", f"Unknown members: {', '.join(unknown)}. Known are {', '.join(sorted(known))}."
        )
    return value


def _name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME


def _sent(payload: dict[str, Any]) -> dict[str, Any]:
    key = payload.get("idempotency_key")
    if key is not None and not _name(key):
        raise Refused("invalid_payload", f"idempotency_key must be a string of 1 to {_LONGEST_NAME} characters.")
    return {"parameters": payload.get("parameters"), "idempotency_key": key}


def _token(request: Request) -> Secret | None:
    value = request.header(b"authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    return Secret(token.strip()) if scheme.lower() == b"bearer" else None


def _session(request: Request) -> str | None:
    value = request.header(b"sidecar-session")
    return value.decode("latin-1")[:_LONGEST_NAME] if value else None


def _query(target: str, known: set[str]) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in target.partition("?")[2].split("&") if pair]
    query = {name: value for name, _, value in pairs}
    if len(query) != len(pairs) or not known.issuperset(query):
        raise Refused("invalid_payload", f"The query takes {', '.join(sorted(known))}, each once.")
    return query


def _number(query: dict[str, str], name: str, default: int | None, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not 0 <= int(text[:20]) <= most or len(text) > 20:
        raise Refused("invalid_payload", f"{name} must be a number from 0 to {most}.")
    return int(text)
