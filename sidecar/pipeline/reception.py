"""What is answered without a call: who asks, what they may call, and what never became a call.

Nothing leaves the sidecar here, so there is no intent; whatever is refused is recorded like any refusal. Steps,
records and refusals are those of ``pipeline.handle``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from sidecar.errors import Refused, SidecarError
from sidecar.model.call import Call, Outcome
from sidecar.model.principal import Principal
from sidecar.pipeline import decide
from sidecar.pipeline.facts import document, facts
from sidecar.pipeline.handle import admit, refuse, settle, tell
from sidecar.pipeline.identify import identify, isolate
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.record import Trail, counted_leaf
from sidecar.pipeline.select import Target, find_plane
from sidecar.rules.catalogue import Catalogue, Operation

# Refused before a head could be read, so no key could be seen either.
UNREADABLE = frozenset(
    {"malformed", "headers_too_large", "unsupported_version", "request_timeout", "rate_limited"}
    | {"host_forbidden", "origin_forbidden"}
)


class Offered(NamedTuple):
    """One operation a principal may call, and by which action."""

    action: str
    operation: Operation


async def recognise(parts: Parts, call: Call) -> Principal:
    """Who asks, for routes that only read what is theirs: steps 1 and 2 and the caller's rate. Raises ``Refused``."""
    return await admit(parts, Trail(call, parts.catalogue.tenant, parts.clock.monotonic()))


async def turn_away(parts: Parts, call: Call, error: SidecarError, admitted: Principal | None = None) -> Outcome:
    """Refuse what never became a call: bad framing, bad JSON, no such route. ``admitted`` is who was let in already.

    A caller who is not known learns only that: 401 and 403 go before what is wrong with the request itself.
    """
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    trail.principal = admitted
    try:
        if admitted is None and (call.token is not None or error.code not in UNREADABLE):
            trail.principal = identify(call, parts.catalogue, parts.clock.now())
            isolate(trail.principal, parts.catalogue)
    except Refused as stranger:
        error = stranger
    return await refuse(parts, trail, error)


async def offer(parts: Parts, call: Call) -> tuple[list[Offered], Outcome]:
    """What the principal may call on ``call.plane``, after policy, asked with null parameters; one record.

    Nothing leaves the sidecar, so there is no intent. Returns what is allowed, and the answer to build on (or
    the refusal).
    """
    trail = Trail(call, parts.catalogue.tenant, parts.clock.monotonic())
    allowed: list[Offered] = []
    outcome = await settle(parts, trail, _ask(parts, parts.catalogue, trail, allowed))
    return (allowed if outcome.problem is None else []), outcome


async def _ask(parts: Parts, catalogue: Catalogue, trail: Trail, allowed: list[Offered]) -> Outcome:
    call = trail.call
    principal = await admit(parts, trail)
    plane = find_plane(call.plane or "", catalogue)
    connector = catalogue.connectors[plane.connector]
    parts.switches.check(principal, connector.id)
    asked = [
        (msgspec.structs.replace(call, action=action), Target(plane, connector, connector.operations[name]))
        for action, names in plane.actions.items()
        for name in names
    ]
    now, switches = parts.clock.now(), parts.switches.names
    verdicts = await parts.engine.evaluate_all(
        [document(facts(one, principal, target, None, None, now, switches=switches)) for one, target in asked]
    )
    for (one, target), verdict in zip(asked, verdicts, strict=True):
        trail.revision = verdict.revision
        decision = decide.read(verdict)
        with suppress(SidecarError):  # denied, or obliged to what a call could not keep
            decide.permit(decision, verdict, call.id, target)
            allowed.append(Offered(one.action, target.operation))
    trail.closing = True
    receipt = await parts.evidence.append(trail.outcome_leaf())
    tell(parts, trail, "allowed", receipt.id)
    return Outcome(call_id=call.id, status=200, evidence_id=receipt.id)


async def record_counted(parts: Parts, new_id: Callable[[], str]) -> None:
    """Once a second: one record for all refusals of a peer that were only counted."""
    for (peer, code), count in tuple(parts.flood.counted.items()):
        await parts.evidence.append(counted_leaf(parts.catalogue.tenant, new_id(), peer, code, count))
        parts.flood.recorded((peer, code), count)
