"""The total policy input: every key there on every call (``model.decision.PolicyInput``)."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any

import msgspec

from sidecar.model.call import Call
from sidecar.model.decision import DestinationFacts, Finding, Moment, PolicyInput, PrincipalFacts, RequestFacts, Usage
from sidecar.model.principal import Principal
from sidecar.pipeline.select import Target
from sidecar.rules.templates import Rendered

_encode = msgspec.json.Encoder(order="deterministic").encode
_NO_USAGE = Usage()
_MINUTE_US = 60_000_000
_EPOCH = date(1970, 1, 1).toordinal()


def facts(
    call: Call,
    principal: Principal,
    target: Target,
    parameters: Any,
    rendered: Rendered | None,
    now: int,
    destination: DestinationFacts | None = None,
    findings: tuple[Finding, ...] = (),
    switches: tuple[str, ...] = (),
) -> PolicyInput:
    """What policy decides on. ``now`` in microseconds; ``rendered`` is None when only the offer is asked for."""
    connector, operation = target.connector, target.operation
    return PolicyInput(
        tenant=principal.tenant,
        principal=PrincipalFacts(
            id=principal.id, kind=principal.kind, roles=principal.roles, labels=principal.labels
        ),
        session=call.session,
        surface=call.surface,
        action=call.action,
        effect=operation.effect,
        plane=target.plane.id if target.plane else None,
        connector=connector.facts,
        operation=operation.facts,
        parameters=parameters,
        request=_request(target, rendered) if rendered else None,
        destination=destination,
        usage=_NO_USAGE,
        switches=switches,
        findings=findings,
        time=_moment(now // _MINUTE_US),
    )


def document(facts: PolicyInput) -> bytes:
    """The input as the engine and the evidence get it: deterministic JSON."""
    return _encode(facts)


def _request(target: Target, rendered: Rendered) -> RequestFacts:
    connector, operation = target.connector, target.operation
    chosen = operation.policy_headers
    return RequestFacts(
        scheme=connector.scheme,
        method=operation.method,
        host=connector.host,
        port=connector.port,
        path=rendered.path,
        query=rendered.query,
        headers={name.decode("ascii"): value.decode("ascii") for name, value in rendered.headers if name in chosen}
        if chosen
        else {},
    )


@lru_cache(maxsize=4)
def _moment(minutes: int) -> Moment:
    day = date.fromordinal(_EPOCH + minutes // 1440)
    return Moment(minute=minutes % 60, hour=minutes // 60 % 24, weekday=day.weekday(), date=day.isoformat())
