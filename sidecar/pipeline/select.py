"""Step 3: what is asked for, as configured, and its payload checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs

from sidecar.config.kinds import NAMED_CAPABILITIES, needed
from sidecar.errors import Reason, Refused
from sidecar.model.call import Call
from sidecar.rules.catalogue import Catalogue, Connector, Operation, Plane
from sidecar.rules.templates import Rendered, render

MOST_VIOLATIONS = 50  # listed in one refusal; a payload of a megabyte can break a rule a million times
LONGEST_VIOLATION = 500  # characters: a member's name may be as long as the payload
# The validator makes all violations before it gives the first, and copies what they are about: half a million values
# held everybody up for seconds. So many values are searched for all of them, so many for one; more for none.
MOST_SEARCHED = 2_000
MOST_SEARCHED_FOR_ONE = 20_000
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
    reasons = [
        Reason("schema_violation", f"{'/'.join(['parameters', *map(str, place)])}: {message}"[:LONGEST_VIOLATION])
        for place, message in _found(parameters, operation.validator)
    ]
    if len(reasons) > MOST_VIOLATIONS:
        reasons[MOST_VIOLATIONS:] = [Reason("more_violations", "There are more violations than are listed here.")]
    return Refused(
        "invalid_payload", f"The payload does not match the operation {operation.id!r}; see reasons.", reasons
    )


def _found(parameters: Any, validator: Any) -> Iterator[tuple[list[str | int], str]]:
    """Where the payload does not match, and how: what can be told of it in some milliseconds."""
    if not isinstance(parameters, dict):
        yield [], "an object is needed"
        return
    size = _values(parameters, MOST_SEARCHED_FOR_ONE)
    if size > MOST_SEARCHED_FOR_ONE:
        yield [], "it has too many values for its violations to be listed; check them against the operation's schema"
    elif size > MOST_SEARCHED:
        try:
            validator.validate(parameters)
        except jsonschema_rs.ValidationError as first:
            yield first.instance_path, first.message
        yield [], "it has too many values for more than the first violation to be listed"
    else:
        for error in islice(validator.iter_errors(parameters), MOST_VIOLATIONS + 1):
            yield error.instance_path, error.message


def _values(document: Any, most: int) -> int:
    """How many values are in ``document``; a number above ``most`` where there are more."""
    count, left = 0, [document]
    while left and count <= most:
        value = left.pop()
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += len(inside)
        if inside and count <= most:
            left.extend(inside)
    return count
