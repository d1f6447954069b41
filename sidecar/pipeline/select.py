"""Step 3: what is asked for, as configured, and its payload checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sidecar.config.kinds import NAMED_CAPABILITIES, needed
from sidecar.errors import Reason, Refused
from sidecar.model.call import Call
from sidecar.rules.catalogue import Catalogue, Connector, Operation, Plane
from sidecar.rules.templates import Rendered, render

MOST_VIOLATIONS = 50  # listed in one refusal; a payload of a megabyte can break a rule a million times
LONGEST_VIOLATION = 500  # characters: a member's name may be as long as the payload
EXECUTE = "execute"


class Target(NamedTuple):
    """Where the call goes. ``plane`` is None for a call that names its connector."""

    plane: Plane | None
    connector: Connector
    operation: Operation


def select(call: Call, catalogue: Catalogue) -> Target:
    """The connector and operation the call names. Raises ``Refused`` with a code of its own for each unknown id."""
    if call.plane is None:
        return _direct(call, catalogue)
    plane = find_plane(call.plane, catalogue)
    offered = plane.actions.get(call.action)
    if not offered:
        raise Refused(
            "unsupported_action",
            f"The plane {plane.id!r} does not offer {call.action!r}. It offers: {_listed(plane.actions)}.",
        )
    connector = catalogue.connectors[plane.connector]
    name = call.operation
    if name is None:
        if len(offered) > 1:
            raise Refused(
                "invalid_payload",
                f"The action {call.action!r} has several operations here; name one of: {_listed(offered)}.",
            )
        name = offered[0]
    elif name not in offered:
        raise _unknown_operation(name, f"the action {call.action!r} of the plane {plane.id!r}")
    return _capable(Target(plane, connector, connector.operations[name]), call.action)


def find_plane(name: str, catalogue: Catalogue) -> Plane:
    """The plane of that id. Raises ``Refused("unknown_plane")``, and ``Refused("inactive")`` where an admin took it,
    its source or its connector out of service."""
    plane = catalogue.planes.get(name)
    if plane is None:
        raise Refused("unknown_plane", "No plane of that id is configured. GET /v1/planes lists them.")
    _in_service(catalogue, ("plane", plane.id), ("source", plane.source), ("connector", plane.connector))
    return plane


def _in_service(catalogue: Catalogue, *parts: tuple[str, str]) -> None:
    inactive = catalogue.standing.inactive
    if inactive:
        for part in parts:
            if part in inactive:
                raise Refused("inactive", f"The {part[0]} {part[1]!r} is out of service. Ask the tenant's admin.")


def _capable(target: Target, action: str | None = None) -> Target:
    operation, connector = target.operation, target.connector
    if operation.effect in connector.capabilities and not operation.stream and action not in NAMED_CAPABILITIES:
        return target
    missing = needed(operation.effect, operation.stream, action) - connector.capabilities
    if missing:
        raise Refused(
            "not_capable", f"The connector {connector.id!r} has no capability {_listed(missing)}, which this needs."
        )
    return target


def _direct(call: Call, catalogue: Catalogue) -> Target:
    connector = catalogue.connectors.get(call.connector or "")
    if connector is None:
        raise Refused("unknown_connector", "No connector of that id is configured.")
    operation = connector.operations.get(call.operation or "")
    if operation is None:
        raise _unknown_operation(call.operation, f"the connector {connector.id!r}")
    _in_service(catalogue, ("connector", connector.id))
    return _capable(Target(None, connector, operation))


def _unknown_operation(name: str | None, place: str) -> Refused:
    return Refused("unknown_operation", f"{name!r} is not an operation of {place}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def validate(parameters: Any, operation: Operation) -> Rendered:
    """Check the payload against the operation's schema, every violation at once, and fill the template (INV-2).

    Raises ``Refused("invalid_payload")``.
    """
    checked = {} if parameters is None else parameters
    if not isinstance(checked, dict) or not operation.validator.is_valid(checked):
        raise _violations(checked, operation)
    return render(operation.template, checked)


def _violations(parameters: Any, operation: Operation) -> Refused:
    reasons: list[Reason] = []
    for error in operation.validator.iter_errors(parameters):
        if len(reasons) == MOST_VIOLATIONS:
            reasons.append(Reason("more_violations", "There are more violations than are listed here."))
            break
        place = "/".join(["parameters", *map(str, error.instance_path)])
        reasons.append(Reason("schema_violation", f"{place}: {error.message}"[:LONGEST_VIOLATION]))
    if not reasons:
        reasons = [Reason("schema_violation", "parameters: an object is needed")]
    return Refused(
        "invalid_payload", f"The payload does not match the operation {operation.id!r}; see reasons.", reasons
    )
