"""The one path of every call. Read it top to bottom; the numbers are those of the comments in ``_govern``.

     1 identify     who asks                                     pipeline.identify
     2 isolate      is it our tenant                             pipeline.identify
     3 validate     which operation, and is the payload right    pipeline.select
     4 limit        kill switches, rates, places, the circuit    pipeline.switches, pipeline.traffic, rules.limits
     5 decide       ask the policy; only a Permit goes on        pipeline.facts, pipeline.decisions, pipeline.decide
     6 resolve      look the name up, check every address        rules.addresses
     7 INTENT       durable before the first upstream byte       pipeline.record
     8 credential   resolve the reference
     9 inject       last, over everything                        pipeline.inject
    10 execute      send, bounded; repeat only what is safe      rules.limits, rules.renewal
    11 scrub        take codings off and this call's secrets out pipeline.cleaning, rules.scrub
    12 interpret    give the raw answer its meaning, and mask it pipeline.answer
    13 OUTCOME      durable before the answer is released        pipeline.record

Every call of every surface enters here. What is answered without a call, because nothing leaves for it, is in
``pipeline.reception``; nowhere else in the pipeline are ports awaited. Whatever raises becomes a refusal that is
recorded itself; what cannot be recorded is answered ``evidence_unavailable`` and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import random
from typing import Any

from sidecar.errors import Refused, SidecarError, Unavailable, UpstreamFailure
from sidecar.model.call import Call, Outcome
from sidecar.model.credential import Reference
from sidecar.model.decision import DestinationFacts, Obligations, Permit
from sidecar.model.evidence import CredentialUse, DestinationUse, Result
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.principal import Principal
from sidecar.pipeline import decide
from sidecar.pipeline.answer import interpret, is_read
from sidecar.pipeline.cleaning import Cleaning, cleaning
from sidecar.pipeline.compose import compose, is_idempotent, shortened
from sidecar.pipeline.facts import document, facts
from sidecar.pipeline.identify import identify, isolate, still
from sidecar.pipeline.inject import Injected, check_binding, inject
from sidecar.pipeline.meter import Meter
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.record import Trail, body_record
from sidecar.pipeline.refusal import problem
from sidecar.pipeline.relay import close, relay
from sidecar.pipeline.select import Target, select, validate
from sidecar.pipeline.traffic import take_place
from sidecar.ports import CredentialSource, Refreshing
from sidecar.rules.addresses import check_addresses
from sidecar.rules.catalogue import Catalogue, Connector, Operation, per_second
from sidecar.rules.limits import retry_pause
from sidecar.rules.renewal import REFUSED, may_repeat
from sidecar.rules.scrub import Scrubber

# By these a gateway says that the service behind it is not there: they count against the circuit.
FAILING_STATUSES = frozenset({502, 503, 504})

NOTHING_SECRET = Scrubber(())
SCRUBBED_AT_ONCE = 1 << 14  # bytes; a hostile body of this size takes some milliseconds
INTERPRETED_AT_ONCE = 1 << 15  # the same


async def handle(parts: Parts, call: Call) -> Outcome:
    """Govern one call from its first step to its answer. Raises only what stops the process itself."""
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    return await settle(parts, trail, _govern(parts, parts.catalogue, trail))


async def settle(parts: Parts, trail: Trail, work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """The outcome of ``work``; whatever it raises becomes a recorded refusal, whatever it held is given back."""
    parts.in_flight += 1
    try:
        return await work
    except SidecarError as error:
        return await refuse(parts, trail, error)
    except Exception as error:
        return await refuse(parts, trail, _failed(parts, trail, error))
    except BaseException:
        # Stopped in the middle of a call: the intent must not stay without an outcome, nor get a second one.
        if not trail.closing:
            await refuse(parts, trail, Unavailable("cancelled", "The sidecar stopped before the call ended."))
        raise
    finally:
        parts.in_flight -= 1
        if trail.place is not None:
            trail.place.leave()
        if trail.body is not None:
            await close(trail.body)


async def _govern(parts: Parts, catalogue: Catalogue, trail: Trail) -> Outcome:
    call, clock, switches = trail.call, parts.clock, parts.switches
    # 1, 2
    principal = await admit(parts, trail)
    # 3
    target = trail.target = select(call, catalogue)
    connector, operation = target.connector, target.operation
    switches.check(principal, connector.id)
    rendered = validate(call.parameters, operation)
    # 4
    await _take(parts, f"connector:{connector.id}", per_second(connector.section.rate), connector.section.rate.burst)
    traffic = trail.place = take_place(parts.traffic, connector.id, connector.section)
    traffic.check_circuit(connector.section, clock.monotonic())
    # 5
    decided = clock.monotonic()
    asks_again = parts.engine.reads_destination  # of the revision that decides now, not of one loaded meanwhile
    asked = facts(call, principal, target, call.parameters, rendered, clock.now(), switches=switches.names)
    permit = await _decide(parts, trail, target, document(asked))
    if connector.binding is not None:
        trail.credential = CredentialUse(ref=str(connector.binding.reference))
    check_binding(connector)
    trail.lap("policy", decided, clock.monotonic())
    # 6
    destination = await _resolve(parts, catalogue, connector)
    trail.destination = DestinationUse(host=destination.host, port=destination.port, ip=destination.addresses[0])
    if asks_again:
        where = DestinationFacts(destination.host, destination.port, destination.addresses)
        asked = facts(call, principal, target, call.parameters, rendered, clock.now(), where, switches=switches.names)
        permit = await _decide(parts, trail, target, document(asked))
    request = compose(call, target, rendered, permit)
    # 7
    resolved = clock.monotonic()
    trail.intent = (await parts.evidence.append(trail.intent_leaf(), trail.document)).index
    if (task := asyncio.current_task()) is not None and task.cancelling():  # stopped meanwhile: nothing is sent
        raise asyncio.CancelledError
    trail.lap("evidence", resolved, clock.monotonic())
    # 8, 9
    sent = await _credentialed(parts, trail, request, connector)
    # 10
    inbound, scrubber = await _exchange(parts, permit, target, destination, request, sent, trail)
    trail.destination = DestinationUse(host=destination.host, port=destination.port, peer=inbound.peer)
    trail.result = Result(status=inbound.status)
    # 11
    switches.check(principal, connector.id)
    clean, headers = cleaning(inbound, operation, permit.obligations, request.max_bytes, scrubber)
    if not isinstance(inbound.body, bytes):
        return await _stream(parts, trail, target, inbound, headers, clean)
    raw = await _scrub(parts, clean, inbound.body)
    # 12
    body = await _interpret(raw, operation, permit.obligations)
    # 13
    trail.result = Result(status=inbound.status, bytes=len(body), hash=parts.evidence.digest(body))
    trail.lap("total", trail.started, clock.monotonic())
    kept = body_record(request.body, raw) if permit.obligations.record_bodies else None
    trail.closing = True
    receipt = await parts.evidence.append(trail.outcome_leaf(), kept)
    tell(parts, trail, "allowed", receipt.id)
    return Outcome(call_id=call.id, status=inbound.status, headers=tuple(headers), body=body, evidence_id=receipt.id)


async def admit(parts: Parts, trail: Trail) -> Principal:
    """Steps 1 and 2, kill switches and the caller's rate. Raises ``Refused`` and ``Unavailable``."""
    principal = identify(trail.call, parts.catalogue, parts.clock.now())
    trail.principal = principal
    parts.uses.note(principal.key, parts.clock.now())
    isolate(principal, parts.catalogue)
    parts.switches.admit(principal, parts.clock.monotonic())
    _check_in_flight(parts)
    rate = parts.catalogue.limits.principal
    await _take(parts, f"principal:{principal.id}", per_second(rate), rate.burst)
    return principal


async def _take(parts: Parts, key: str, rate: float, burst: int) -> None:
    wait = await parts.counter.take(key, rate, burst)
    if wait is not None:
        raise Refused("rate_limited", f"Too many calls; try again in {wait:.1f} seconds.", retry_after=wait)


def _check_in_flight(parts: Parts) -> None:
    if parts.in_flight > parts.catalogue.limits.in_flight:
        raise Refused(
            "too_many_in_flight", "The sidecar has as many calls in work as it may; try again.", retry_after=1.0
        )


def _source(parts: Parts, reference: Reference) -> CredentialSource:
    source = parts.credentials.get(reference.scheme)
    if source is None:
        raise Unavailable("credential_unavailable", f"No store of {reference.scheme}:// credentials is configured.")
    return source


async def _decide(parts: Parts, trail: Trail, target: Target, asked: bytes) -> Permit:
    trail.document, trail.input_hash = asked, parts.evidence.digest(asked)
    verdict = parts.decisions.find(asked)
    if verdict is None:
        verdict = await parts.engine.evaluate(asked)
        parts.decisions.keep(asked, verdict)
    trail.revision = verdict.revision
    trail.decision = decide.read(verdict)
    return decide.permit(trail.decision, verdict, trail.call.id, target)


async def _resolve(parts: Parts, catalogue: Catalogue, connector: Connector) -> Destination:
    found = await parts.resolver.resolve(connector.host)
    checked = check_addresses(connector.host, connector.port, found, catalogue.grants, parts.own_ports)
    return Destination(connector.scheme, connector.host, connector.port, checked)


async def _credentialed(parts: Parts, trail: Trail, request: Outbound, connector: Connector) -> Injected:
    if connector.binding is None:
        return Injected(request, ())
    reference = connector.binding.reference
    credential = await _source(parts, reference).resolve(reference)
    trail.credential = CredentialUse(ref=str(reference), version=credential.version)
    return inject(request, connector, credential, parts.clock.now())


async def _exchange(
    parts: Parts,
    permit: Permit,
    target: Target,
    destination: Destination,
    request: Outbound,
    sent: Injected,
    trail: Trail,
) -> tuple[Inbound, Scrubber]:
    """The answer, and what takes every secret out of it that the upstream was sent."""
    # Before anything is sent: what cannot be found again must not leave.
    scrubber = Scrubber(sent.secrets) if sent.secrets else NOTHING_SECRET
    started = parts.clock.monotonic()
    inbound = await _execute(parts, permit, target, destination, sent.request, trail)
    if inbound.status == REFUSED and (renewed := await _renewed(parts, trail, request, target, inbound)) is not None:
        scrubber = Scrubber((*sent.secrets, *renewed.secrets))
        again = shortened(renewed.request, parts.clock.monotonic() - started)
        inbound = await _execute(parts, permit, target, destination, again, trail)
    trail.lap("upstream", started, parts.clock.monotonic())
    return inbound, scrubber


async def _renewed(
    parts: Parts, trail: Trail, request: Outbound, target: Target, refused: Inbound
) -> Injected | None:
    """The request with another version of its credential than the refused one; None where there is none, or the
    request may not be repeated. The refused answer then stands.
    """
    connector, used = target.connector, trail.credential
    if connector.binding is None or used is None or used.version is None:
        return None
    if not may_repeat(refused.status, refused.headers, idempotent=is_idempotent(trail.call, target.operation)):
        return None
    reference = connector.binding.reference
    source = _source(parts, reference)
    try:
        if isinstance(source, Refreshing):
            credential = await source.refresh(reference, used.version)
        else:
            credential = await source.resolve(reference)
        if credential.version == used.version:
            return None
        renewed = inject(request, connector, credential, parts.clock.now())
    except SidecarError:
        return None
    if trail.body is not None:
        await close(trail.body)
    trail.credential = CredentialUse(ref=str(reference), version=credential.version)
    trail.laps["renewals"] = 1
    return renewed


async def _execute(
    parts: Parts, permit: Permit, target: Target, destination: Destination, request: Outbound, trail: Trail
) -> Inbound:
    """Send, and send again what may be sent twice, while the circuit is closed and the retry budget lasts."""
    section, clock, traffic = target.connector.section, parts.clock, parts.traffic[target.connector.id]
    until = None if request.timeout is None else clock.monotonic() + request.timeout  # the policy's, for all tries
    attempt = 1
    while True:
        parts.switches.check(trail.caller, target.connector.id)  # set meanwhile, it is in force before each try
        traffic.admit(section, clock.monotonic())
        try:
            inbound = await parts.caller.call(permit, target.connector.id, destination, request)
        except UpstreamFailure as failure:
            if failure.code == "answer_too_large":  # it did answer: no fault of its own, and no better a second time
                traffic.breaker.succeeded()
                raise
            traffic.failed(section, failure.code, clock.monotonic(), clock.now())
            pause = retry_pause(section.retry, attempt, failure, target.operation.idempotent, random())  # noqa: S311  # jitter is no secret
            left = None if until is None or pause is None else until - clock.monotonic() - pause
            if pause is None or (left is not None and left <= 0):
                raise
            if not traffic.is_closed or not traffic.retries.take():
                raise
            request = request._replace(timeout=left)
        except BaseException:
            traffic.breaker.released()
            raise
        else:
            if inbound.status in FAILING_STATUSES:
                code = f"upstream_status_{inbound.status}"
                traffic.failed(section, code, clock.monotonic(), clock.now())
            else:
                traffic.breaker.succeeded()
            trail.body = None if isinstance(inbound.body, bytes) else inbound.body
            return inbound
        await clock.pause(pause)
        attempt += 1
        trail.laps["attempts"] = attempt


async def _scrub(parts: Parts, clean: Cleaning, body: bytes) -> bytes:
    """The body without secrets. A long one is searched in pieces, so that other calls go on in between."""
    whole = clean.at_once(body, SCRUBBED_AT_ONCE)
    if whole is not None:
        return whole
    pieces = []
    for piece in clean.pieces(body):
        pieces.append(piece)
        await parts.clock.pause(0)
    return b"".join(pieces)


async def _interpret(raw: bytes, operation: Operation, obligations: Obligations) -> bytes:
    """The interpreted and masked body. A long one beside the loop: of many small values each takes its time."""
    if len(raw) <= INTERPRETED_AT_ONCE or not is_read(operation, obligations):
        return interpret(raw, operation, obligations)
    return await asyncio.to_thread(interpret, raw, operation, obligations)


async def _stream(
    parts: Parts,
    trail: Trail,
    target: Target,
    inbound: Inbound,
    headers: list[tuple[bytes, bytes]],
    clean: Cleaning,
) -> Outcome:
    meter = Meter(inbound.status, parts.clock.monotonic())
    await parts.evidence.append(trail.chunk_leaf(meter.result(parts.evidence.digest)))
    still(trail.caller, parts.catalogue)
    cut = parts.switches.open(trail.caller, target.connector.id)
    # The stream gives back what the call held when it ends, not this call.
    place, trail.place = trail.place, None
    source, trail.body = trail.body, None
    assert place is not None
    assert source is not None
    last: list[str] = []

    async def ended(ending: SidecarError | None) -> None:
        parts.switches.close(cut)
        if isinstance(ending, UpstreamFailure):
            place.failed(target.connector.section, ending.code, parts.clock.monotonic(), parts.clock.now())
        place.leave()
        trail.result = meter.result(parts.evidence.digest)
        trail.lap("total", trail.started, parts.clock.monotonic())
        last.append(await _end_stream(parts, trail, ending))

    async def covered(part: bytes) -> bytes:
        """``part``, once a durable record covers it."""
        if meter.due(len(part), parts.clock.monotonic()):
            await parts.evidence.append(trail.chunk_leaf(meter.result(parts.evidence.digest)))
            meter.renew(parts.clock.monotonic())
        meter.passed(part)
        return part

    body = relay(source, clean, cut, covered, ended, lambda error: _failed(parts, trail, error))
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
    tell(parts, trail, ending.code if ending else "allowed", receipt.id)
    return receipt.id


def _failed(parts: Parts, trail: Trail, error: Exception) -> Unavailable:
    """A fault of our own: the observer learns its kind, the caller nothing."""
    parts.observer.observe("failure", {"call_id": trail.call.id, "error": type(error).__name__})
    return Unavailable("internal_error", "The sidecar failed while handling the call.")


async def refuse(parts: Parts, trail: Trail, error: SidecarError) -> Outcome:
    """Record a refusal and give its answer."""
    if error.code == "credential_misused":
        parts.observer.observe("credential_alarm", trail.alarm(error))
    evidence_id: str | None = None
    unknown = trail.principal is None
    owed = trail.intent is not None and not trail.closing  # an outcome, which the log takes while it takes anything
    if (owed or error.code != "evidence_unavailable") and not (
        unknown and not parts.flood.admits(trail.call.peer, error.code, parts.clock.monotonic())
    ):
        try:
            trail.lap("total", trail.started, parts.clock.monotonic())
            kept = trail.document if trail.intent is None else None
            evidence_id = (await parts.evidence.append(trail.refusal_leaf(error), kept)).id
        except Unavailable as unrecorded:
            error = unrecorded
        except Exception as failure:
            _failed(parts, trail, failure)
            error = Unavailable("evidence_unavailable", "The refusal could not be recorded.")
    tell(parts, trail, error.code, evidence_id)
    shown = problem(error, evidence_id, trail.revision)
    return Outcome(
        call_id=trail.call.id,
        status=shown.status,
        evidence_id=evidence_id,
        problem=shown,
        retry_after=error.retry_after if isinstance(error, Refused) else None,
    )


def tell(parts: Parts, trail: Trail, code: str, evidence_id: str | None) -> None:
    """The canonical event of a call that has ended, for the observer."""
    parts.observer.observe("call", trail.event(code, evidence_id))
