"""The administrators' door: HTTP on ``doors.admin`` (loopback, or TLS) and on a Unix socket of its owner.

A request goes through, in this order: Host and Origin, who asks (``listeners.admin_caller``), the route, its guard,
the rate of who asks, the body and the version it is about; only then the verb. What is refused at any of these is
recorded as evidence and answered as a problem document (RFC 9457), as on the agents' door.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from sidecar.errors import Misconfigured, Refused, SidecarError, Unavailable
from sidecar.listeners.access import reply
from sidecar.listeners.admin_answers import AdminAnswers, Verbs
from sidecar.listeners.admin_asked import Asked, Told
from sidecar.listeners.admin_bodies import decoded
from sidecar.listeners.admin_caller import SOCKET, SURFACE, Place, admit, check_site, peer, place, unproven
from sidecar.listeners.admin_openapi import openapi
from sidecar.listeners.admin_routes import Endpoint, endpoints
from sidecar.listeners.admin_server import AdminServer, code_of
from sidecar.listeners.routes import ADMIN_GUARDS, Route, Routes
from sidecar.model.call import Call, Outcome, Problem
from sidecar.model.principal import Principal
from sidecar.model.registry import KEY, PRINCIPAL
from sidecar.operations.registered import ANY_VERSION
from sidecar.operations.tenant.connectors import TESTER_ID
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.reception import turn_away
from sidecar.pipeline.refusal import TYPE_PREFIX, problem
from sidecar.rules.catalogue import per_second
from sidecar.rules.documents import parse_json

BODY_SECONDS: Final = 15.0
_LOGINS_PER_SECOND: Final = 1.0  # failed ones of one address; keys that prove somebody are never held up by them
_LOGINS_AT_ONCE: Final = 10
_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.SERVER: "sidecar",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_TAG: Final = re.compile(r'"[!#-~]{1,128}"')  # RFC 9110 section 8.8.3, without the bytes that no version here has
_AN_ETAG: Final = 'If-Match is an ETag of this door, such as "3".'
_encode = msgspec.json.Encoder(order="deterministic").encode


class AdminDoor:
    """Serves ``verbs``. A route without a guard refuses to start: ``Misconfigured`` from the constructor."""

    def __init__(self, parts: Parts, new_id: Callable[[], str], verbs: Verbs) -> None:
        self._parts = parts
        self._new_id = new_id
        self.endpoints = endpoints(AdminAnswers(verbs, lambda: openapi(self.endpoints)))
        self._routes: Routes[Endpoint] = Routes(
            Route(endpoint.method, endpoint.pattern, endpoint.guard, endpoint) for endpoint in self.endpoints
        )
        self._server = AdminServer()
        self._recording: set[asyncio.Task[Outcome]] = set()

    async def start(self, socket: Path) -> None:
        """Listen on ``socket``, replacing a stale one. Raises ``Misconfigured``."""
        await self._server.listen_unix(socket, self._answering(SOCKET), self._unparsed)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None, names: tuple[str, ...] = ()) -> int:
        """Listen on TCP; ``names`` are those of the certificate. The port. Raises ``Misconfigured``."""
        scheme = "http" if tls is None else "https"
        here: list[Place] = []

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(request, here[0])

        bound = await self._server.listen(host, port, tls, answer, self._unparsed)
        here.append(place(scheme, host, bound, names))
        return bound

    async def close(self) -> None:
        """Stop listening, and let what was refused be recorded."""
        await self._server.close()
        await asyncio.gather(*self._recording)

    def _answering(self, at: Place) -> Callable[[web.BaseRequest], Any]:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(request, at)

        return answer

    async def _answer(self, request: web.BaseRequest, at: Place) -> web.StreamResponse:
        call: Call | None = None
        principal: Principal | None = None
        try:
            check_site(request.headers, at)
            call = unproven(request, at, self._new_id(), self._parts.catalogue)
            now = self._parts.clock.now()
            principal = admit(call, self._parts.catalogue, now)
            self._parts.uses.note(principal.key, now)
            self._check_switches(principal)
            return await self._govern(request, principal)
        except Misconfigured as error:
            return _misconfigured(error)
        except SidecarError as error:
            return await self._refuse(request, call, error, principal)
        except web.HTTPRequestEntityTooLarge:
            large = Refused("body_too_large", "The body may have at most 1 MiB.")
            return await self._refuse(request, call, large, principal)
        except Exception as error:
            self._parts.observer.observe("failure", {"door": "admin", "error": type(error).__name__})
            failed = Unavailable("internal_error", "The sidecar failed while handling the request.")
            return await self._refuse(request, call, failed, principal)

    async def _govern(self, request: web.BaseRequest, principal: Principal) -> web.Response:
        found = self._routes.find(request.method, request.path)
        endpoint = found.handler
        if not ADMIN_GUARDS[endpoint.guard] & set(principal.roles):
            wanted = " or ".join(sorted(ADMIN_GUARDS[endpoint.guard]))
            raise Refused("forbidden", f"This route is for the role {wanted}; yours: {_listed(principal.roles)}.")
        await self._take(principal)
        query = _query(request, (*endpoint.names, *endpoint.query))
        tag = _tag(request) if endpoint.matches or endpoint.tagged else None
        version = _version(tag) if endpoint.matches else None
        body = await _body(request, endpoint)
        told = await endpoint.answer(Asked(principal, found.values, query, body, version, tag))
        return await _response(told)

    def _check_switches(self, principal: Principal) -> None:
        """A stolen key that was stopped opens nothing, nor one of which that is not known; the socket's owner has
        none. A stopped tenant is still administered: somebody clears it.

        Raises ``Refused("killed")`` and ``Unavailable("registry_unavailable")``.
        """
        if principal.id != TESTER_ID:
            self._parts.switches.check_known(self._parts.clock.monotonic())
        for switch in self._parts.switches.listed():
            if (switch.target, switch.id) in ((KEY, principal.key), (PRINCIPAL, principal.id)):
                raise Refused("killed", f"Stopped by a kill switch: {switch.reason or 'no reason was given'}.")

    async def _take(self, principal: Principal) -> None:
        rate = self._parts.catalogue.limits.principal
        wait = await self._parts.counter.take(f"principal:{principal.id}", per_second(rate), rate.burst)
        if wait is not None:
            raise Refused("rate_limited", f"Too many requests; try again in {wait:.1f} seconds.", retry_after=wait)

    async def _refuse(
        self, request: web.BaseRequest, call: Call | None, error: SidecarError, admitted: Principal | None
    ) -> web.Response:
        if error.code == "unauthenticated":
            host = peer(request).rpartition(":")[0]
            wait = await self._parts.counter.take(f"login:{host}", _LOGINS_PER_SECOND, _LOGINS_AT_ONCE)
            if wait is not None:
                call, error = None, Refused("rate_limited", "Too many keys that are not known.", retry_after=wait)
        if call is None:  # nobody was looked for: the refusal is the request's own
            call = Call(id=self._new_id(), surface=SURFACE, action="admin", peer=peer(request))
        outcome = await turn_away(self._parts, call, error, admitted)
        response = await _outcome(outcome)
        if error.code == "method_not_allowed":
            response.headers[hdrs.ALLOW] = ", ".join(self._routes.methods(request.path))
        if request.body_exists and not request.content.at_eof():
            response.force_close()  # the rest of a body that nobody reads
        return response

    def _unparsed(self, request: web.BaseRequest, status: int) -> web.Response:
        code = code_of(status)
        detail = (
            "The sidecar failed while handling the request."
            if code == "internal_error"
            else "The bytes are not a request that this door reads."
        )
        error = Refused(code, detail)
        call = Call(id=self._new_id(), surface=SURFACE, action="admin", peer=peer(request))
        # The server wants its answer now: the record is made beside it, bounded like any of a caller not known.
        task = asyncio.get_running_loop().create_task(turn_away(self._parts, call, error))
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        shown = problem(error, None, None)
        return _document(shown, shown.status, "application/problem+json")


def _listed(roles: tuple[str, ...]) -> str:
    return ", ".join(roles) or "none"


def _query(request: web.BaseRequest, known: tuple[str, ...]) -> dict[str, str]:
    pairs = list(request.query.items())
    query = dict(pairs)
    if len(query) != len(pairs) or not set(known).issuperset(query):
        takes = f"takes {', '.join(known)}, each once" if known else "takes nothing"
        raise Refused("invalid_payload", f"The query of this route {takes}.")
    return query


def _tag(request: web.BaseRequest) -> str | None:
    """Which version the change is about: what If-Match has in quotes, or ``*`` for whichever it is now; None for a
    new thing (``If-None-Match: *``).

    Raises ``Refused``: precondition_required where neither is said (RFC 6585 section 3), malformed.
    """
    matches = request.headers.getall(hdrs.IF_MATCH, [])
    new = request.headers.getall(hdrs.IF_NONE_MATCH, [])
    if len(matches) + len(new) == 0:
        raise Refused(
            "precondition_required",
            'Say what is changed: If-Match with the ETag that was read, or "If-None-Match: *" for something new.',
        )
    if len(matches) + len(new) > 1:
        raise Refused("malformed", "One of If-Match and If-None-Match is needed, once.")
    if new:
        if new[0].strip() != "*":
            raise Refused("malformed", "If-None-Match is * here.")
        return None
    text = matches[0].strip()
    if text == "*":
        return text
    if not _TAG.fullmatch(text):
        raise Refused("malformed", _AN_ETAG)
    return text[1:-1]


def _version(tag: str | None) -> int | None:
    """The number of a version. Raises ``Refused("malformed")``."""
    if tag is None or tag == "*":
        return None if tag is None else ANY_VERSION
    if not tag.isdecimal():
        raise Refused("malformed", _AN_ETAG)
    return int(tag[:18])


async def _body(request: web.BaseRequest, endpoint: Endpoint) -> Any:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise Refused("request_timeout", "The body did not arrive in time.") from None
    if endpoint.body is None and endpoint.section is None:
        if raw:
            raise Refused("invalid_payload", "This route takes no body.")
        return None
    if raw and request.content_type != "application/json":
        raise Refused("unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.")
    value = parse_json(raw) if raw else {}
    if not isinstance(value, dict):
        raise Refused("invalid_payload", "The body is a JSON object.")
    return value if endpoint.body is None else decoded(value, endpoint.body)


async def _response(told: Told) -> web.Response:
    if told.outcome is not None:
        return await _outcome(told.outcome)
    response = _document(told.value, told.status)
    if told.version is not None:
        response.headers[hdrs.ETAG] = f'"{told.version}"'
    return response


async def _outcome(outcome: Outcome) -> web.Response:
    answer = reply(outcome)
    content = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    response = web.Response(status=answer.status, headers=headers, body=content)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    if outcome.retry_after is not None:
        response.headers[hdrs.RETRY_AFTER] = str(max(1, ceil(outcome.retry_after)))
    return response


def _misconfigured(error: Misconfigured) -> web.Response:
    """What is wrong with the files, in full: who may ask here wrote them. No agent's door shows this code."""
    shown = Problem(
        type=TYPE_PREFIX + error.code,
        title="The configuration cannot be served",
        status=422,
        detail=error.detail,
        code=error.code,
        evidence_id=None,
        policy_revision=None,
        reasons=tuple({"code": reason.code, "message": reason.message} for reason in error.reasons),
    )
    return _document(shown, shown.status, "application/problem+json")


def _document(value: object, status: int = 200, kind: str = "application/json") -> web.Response:
    return web.Response(status=status, body=_encode(value), content_type=kind, headers=_HEADERS)
