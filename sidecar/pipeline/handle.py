"""The one path of every call. Read it top to bottom; the numbers are those of the comments in ``_govern``.

     1 identify     who asks                                     pipeline.identify
     2 isolate      is it our tenant                             pipeline.identify
     3 validate     which operation, and is the payload right    pipeline.select
     4 limit        rates, places, the circuit                   pipeline.traffic, rules.limits
     5 decide       ask the policy; only a Permit goes on        pipeline.facts, pipeline.decide
     6 resolve      look the name up, check every address        rules.addresses
     7 INTENT       durable before the first upstream byte       pipeline.record
     8 credential   resolve the reference
     9 inject       last, over everything                        pipeline.inject
    10 execute      send, bounded; repeat only what is safe      rules.limits
    11 scrub        take this call's secrets out                 rules.scrub
    12 interpret    give the raw answer its meaning, and mask it pipeline.answer
    13 OUTCOME      durable before the answer is released        pipeline.record

Every surface enters here, and only here are ports awaited. Whatever raises becomes a refusal that is recorded itself;
what cannot be recorded is answered ``evidence_unavailable`` and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from random import random
from typing import NamedTuple

import msgspec

from sidecar.errors import Refused, SidecarError, Unavailable, UpstreamFailure
from sidecar.model.call import Call, Outcome
from sidecar.model.decision import DestinationFacts, Permit
from sidecar.model.evidence import CredentialUse, DestinationUse, Result
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.principal import Principal
from sidecar.pipeline import decide
from sidecar.pipeline.answer import check_answer, interpret, passed_headers
from sidecar.pipeline.compose import compose
from sidecar.pipeline.facts import document, facts
from sidecar.pipeline.identify import identify, isolate
from sidecar.pipeline.inject import Injected, check_binding, inject
from sidecar.pipeline.meter import WINDOW_BYTES, Meter
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.record import Trail, body_record, counted_leaf
from sidecar.pipeline.refusal import problem
from sidecar.pipeline.select import Target, find_plane, select, validate
from sidecar.pipeline.traffic import take_place
from sidecar.rules.addresses import check_addresses
from sidecar.rules.catalogue import Catalogue, Connector, Operation, per_second
from sidecar.rules.limits import retry_pause
from sidecar.rules.scrub import Scrubber

# By these a gateway says that the service behind it is not there: they count against the circuit.
FAILING_STATUSES = frozenset({502, 503, 504})

# Refused before a head could be read, so no key could be seen either.
UNREADABLE = frozenset({"malformed", "headers_too_large", "unsupported_version", "request_timeout"})


class Offered(NamedTuple):
    """One operation a principal may call, and by which action."""

    action: str
    operation: Operation


async def handle(parts: Parts, call: Call) -> Outcome:
    """Govern one call from its first step to its answer. Raises only what stops the process itself."""
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    try:
        return await _govern(parts, parts.catalogue, trail)
    except SidecarError as error:
        return await _refuse(parts, trail, error)
    except Exception as error:
        parts.observer.observe("failure", {"call_id": call.id, "error": type(error).__name__})
        return await _refuse(
            parts, trail, Unavailable("internal_error", "The sidecar failed while handling the call.")
        )
    except BaseException:
        # Stopped in the middle of a call: the intent must not stay without an outcome.
        await _refuse(parts, trail, Unavailable("cancelled", "The sidecar stopped before the call ended."))
        raise
    finally:
        if trail.place is not None:
            trail.place.leave()


async def _govern(parts: Parts, catalogue: Catalogue, trail: Trail) -> Outcome:
    call, clock = trail.call, parts.clock
    # 1, 2
    principal = await _admit(parts, trail)
    # 3
    target = trail.target = select(call, catalogue)
    connector, operation = target.connector, target.operation
    rendered = validate(call.parameters, operation)
    # 4
    await _take(parts, f"connector:{connector.id}", per_second(connector.section.rate), connector.section.rate.burst)
    traffic = trail.place = take_place(parts.traffic, connector.id, connector.section)
    traffic.check_circuit(connector.section, clock.monotonic())
    # 5
    decided = clock.monotonic()
    permit = await _decide(
        parts, trail, target, document(facts(call, principal, target, call.parameters, rendered, clock.now()))
    )
    check_binding(connector)
    trail.lap("policy", decided, clock.monotonic())
    # 6
    destination = await _resolve(parts, catalogue, connector)
    trail.destination = DestinationUse(host=destination.host, port=destination.port, ip=destination.addresses[0])
    if parts.engine.reads_destination:
        where = DestinationFacts(destination.host, destination.port, destination.addresses)
        again = facts(call, principal, target, call.parameters, rendered, clock.now(), where)
        permit = await _decide(parts, trail, target, document(again))
    request = compose(call, target, rendered, permit)
    if connector.binding is not None:
        trail.credential = CredentialUse(ref=str(connector.binding.reference))
    # 7
    trail.intent = (await parts.evidence.append(trail.intent_leaf(), trail.document)).index
    # 8, 9
    sent = Injected(request, ())
    if connector.binding is not None:
        reference = connector.binding.reference
        credential = await parts.credentials[reference.scheme].resolve(reference)
        trail.credential = CredentialUse(ref=str(reference), version=credential.version)
        sent = inject(request, connector, credential)
    # 10
    started = clock.monotonic()
    inbound = await _execute(parts, permit, target, destination, sent.request, trail)
    trail.lap("upstream", started, clock.monotonic())
    trail.destination = DestinationUse(host=destination.host, port=destination.port, peer=inbound.peer)
    # 11
    scrubber = Scrubber(sent.secrets)
    check_answer(inbound, operation, secret=bool(sent.secrets))
    headers, _ = scrubber.scrub_headers(passed_headers(inbound.headers))
    if not isinstance(inbound.body, bytes):
        return await _stream(parts, trail, inbound, headers, scrubber)
    raw, _ = scrubber.scrub_body(inbound.body)
    # 12
    body = interpret(raw, operation, permit.obligations)
    # 13
    trail.result = Result(status=inbound.status, bytes=len(body), hash=parts.evidence.digest(body))
    trail.lap("total", trail.started, clock.monotonic())
    kept = body_record(request.body, raw) if permit.obligations.record_bodies else None
    receipt = await parts.evidence.append(trail.outcome_leaf(), kept)
    _tell(parts, trail, "allowed", receipt.id)
    return Outcome(call_id=call.id, status=inbound.status, headers=tuple(headers), body=body, evidence_id=receipt.id)


async def recognise(parts: Parts, call: Call) -> Principal:
    """Who asks, for routes that only read what is theirs: steps 1 and 2 and the caller's rate. Raises ``Refused``."""
    return await _admit(parts, Trail(call, parts.catalogue.tenant, parts.clock.monotonic()))


async def turn_away(parts: Parts, call: Call, error: SidecarError) -> Outcome:
    """Refuse what never became a call: bad framing, bad JSON, no such route.

    A caller who is not known learns only that: 401 and 403 go before what is wrong with the request itself.
    """
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    try:
        if call.token is not None or error.code not in UNREADABLE:
            trail.principal = identify(call, parts.catalogue)
            isolate(trail.principal, parts.catalogue)
    except Refused as stranger:
        error = stranger
    return await _refuse(parts, trail, error)


async def _admit(parts: Parts, trail: Trail) -> Principal:
    principal = identify(trail.call, parts.catalogue)
    trail.principal = principal
    isolate(principal, parts.catalogue)
    rate = parts.catalogue.limits.principal
    await _take(parts, f"principal:{principal.id}", per_second(rate), rate.burst)
    return principal


async def _take(parts: Parts, key: str, rate: float, burst: int) -> None:
    wait = await parts.counter.take(key, rate, burst)
    if wait is not None:
        raise Refused("rate_limited", f"Too many calls; try again in {wait:.1f} seconds.", retry_after=wait)


async def _decide(parts: Parts, trail: Trail, target: Target, asked: bytes) -> Permit:
    trail.document, trail.input_hash = asked, parts.evidence.digest(asked)
    verdict = await parts.engine.evaluate(asked)  # a decision cache belongs here, around the engine
    trail.revision = verdict.revision
    trail.decision = decide.read(verdict)
    return decide.permit(trail.decision, verdict, trail.call.id, target)


async def _resolve(parts: Parts, catalogue: Catalogue, connector: Connector) -> Destination:
    found = await parts.resolver.resolve(connector.host)
    checked = check_addresses(connector.host, connector.port, found, catalogue.grants, parts.own_ports)
    return Destination(connector.scheme, connector.host, connector.port, checked)


async def _execute(
    parts: Parts, permit: Permit, target: Target, destination: Destination, request: Outbound, trail: Trail
) -> Inbound:
    """Send, and send again what may be sent twice, while the circuit is closed and the retry budget lasts."""
    section, clock, traffic = target.connector.section, parts.clock, parts.traffic[target.connector.id]
    attempt = 1
    while True:
        traffic.admit(section, clock.monotonic())
        try:
            inbound = await parts.caller.call(permit, target.connector.id, destination, request)
        except UpstreamFailure as failure:
            traffic.failed(section, failure.code, clock.monotonic(), clock.now())
            pause = retry_pause(section.retry, attempt, failure, target.operation.idempotent, random())  # noqa: S311  # jitter is no secret
            if pause is None or not traffic.retries.take():
                raise
        except BaseException:
            traffic.breaker.released()
            raise
        else:
            if inbound.status in FAILING_STATUSES:
                code = f"upstream_status_{inbound.status}"
                traffic.failed(section, code, clock.monotonic(), clock.now())
            else:
                traffic.breaker.succeeded()
            return inbound
        await clock.pause(pause)
        attempt += 1
        trail.laps["attempts"] = attempt


async def _stream(
    parts: Parts, trail: Trail, inbound: Inbound, headers: list[tuple[bytes, bytes]], scrubber: Scrubber
) -> Outcome:
    assert not isinstance(inbound.body, bytes)
    meter = Meter(inbound.status, parts.clock.monotonic())
    await parts.evidence.append(trail.chunk_leaf(meter.result()))
    place, trail.place = trail.place, None  # the stream gives its place back when it ends, not this call
    last: list[str] = []

    async def relay(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        ending: SidecarError | None = Unavailable("cancelled", "The stream was left before its end.")
        try:
            yield b""  # started: from here on, closing runs what stands under finally
            async for chunk in body:
                async for piece in measured(scrubber.feed(chunk)):
                    yield piece
            async for piece in measured(scrubber.finish()):
                yield piece
            ending = None
        except SidecarError as error:
            ending = error
            raise
        finally:
            if place is not None:
                place.leave()
            trail.result = meter.result()
            trail.lap("total", trail.started, parts.clock.monotonic())
            last.append(await _end_stream(parts, trail, ending))

    async def measured(piece: bytes) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(piece), WINDOW_BYTES):
            part = piece[at : at + WINDOW_BYTES]
            if meter.due(len(part), parts.clock.monotonic()):
                await parts.evidence.append(trail.chunk_leaf(meter.result()))
                meter.renew(parts.clock.monotonic())
            meter.passed(part)
            yield part

    body = relay(inbound.body)
    await anext(body)
    return Outcome(
        call_id=trail.call.id,
        status=inbound.status,
        headers=tuple(headers),
        body=body,
        final_evidence_id=lambda: last[0] if last else None,
    )


async def _end_stream(parts: Parts, trail: Trail, ending: SidecarError | None) -> str:
    leaf = trail.outcome_leaf() if ending is None else trail.refusal_leaf(ending)
    receipt = await parts.evidence.append(leaf)
    _tell(parts, trail, ending.code if ending else "allowed", receipt.id)
    return receipt.id


async def _refuse(parts: Parts, trail: Trail, error: SidecarError) -> Outcome:
    """Record a refusal and give its answer."""
    evidence_id: str | None = None
    unknown = trail.principal is None
    if error.code != "evidence_unavailable" and not (
        unknown and not parts.flood.admits(trail.call.peer, parts.clock.monotonic())
    ):
        try:
            trail.lap("total", trail.started, parts.clock.monotonic())
            kept = trail.document if trail.intent is None else None
            evidence_id = (await parts.evidence.append(trail.refusal_leaf(error), kept)).id
        except Unavailable as unrecorded:
            error = unrecorded
    _tell(parts, trail, error.code, evidence_id)
    shown = problem(error, evidence_id, trail.revision)
    return Outcome(
        call_id=trail.call.id,
        status=shown.status,
        evidence_id=evidence_id,
        problem=shown,
        retry_after=error.retry_after if isinstance(error, Refused) else None,
    )


async def offer(parts: Parts, call: Call) -> tuple[list[Offered], Outcome]:
    """What the principal may call on ``call.plane``, after policy, asked with null parameters; one record.

    Nothing leaves the sidecar, so there is no intent. Returns what is allowed, and the answer to build on (or
    the refusal).
    """
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    catalogue = parts.catalogue
    try:
        principal = await _admit(parts, trail)
        plane = find_plane(call.plane or "", catalogue)
        connector = catalogue.connectors[plane.connector]
        asked = [
            (msgspec.structs.replace(call, action=action), Target(plane, connector, connector.operations[name]))
            for action, names in plane.actions.items()
            for name in names
        ]
        now = parts.clock.now()
        verdicts = await parts.engine.evaluate_all(
            [document(facts(one, principal, target, None, None, now)) for one, target in asked]
        )
        allowed = []
        for (one, target), verdict in zip(asked, verdicts, strict=True):
            trail.revision = verdict.revision
            if decide.read(verdict).allow is True:
                allowed.append(Offered(one.action, target.operation))
        receipt = await parts.evidence.append(trail.outcome_leaf())
        _tell(parts, trail, "allowed", receipt.id)
        return allowed, Outcome(call_id=call.id, status=200, evidence_id=receipt.id)
    except SidecarError as error:
        return [], await _refuse(parts, trail, error)


async def record_counted(parts: Parts, new_id: Callable[[], str]) -> None:
    """Once a second: one record for all refusals of a peer that were only counted."""
    for peer, count in tuple(parts.flood.counted.items()):
        await parts.evidence.append(counted_leaf(parts.catalogue.tenant, new_id(), peer, count))
        parts.flood.recorded(peer, count)


def _tell(parts: Parts, trail: Trail, code: str, evidence_id: str | None) -> None:
    call, target = trail.call, trail.target
    parts.observer.observe(
        "call",
        {
            "call_id": call.id,
            "surface": call.surface,
            "action": call.action,
            "principal": trail.principal.id if trail.principal else None,
            "plane": call.plane if target else None,
            "connector": target.connector.id if target else None,
            "operation": target.operation.id if target else None,
            "code": code,
            "evidence_id": evidence_id,
            "policy_revision": trail.revision,
            "status": trail.result.status if trail.result else None,
            "laps": trail.laps,
        },
    )
