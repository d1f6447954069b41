"""What the registry store holds, and what people see of a connector."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

# The kinds of rows. A row is found by its kind and id; an id is unique for its kind, within the tenant.
CONNECTOR, SOURCE, PLANE = "connector", "source", "plane"
PRINCIPAL, KEY, ROLE, TENANT = "principal", "key", "role", "tenant"
SWITCH, ACTIVATION = "switch", "activation"
KINDS: Final = frozenset({CONNECTOR, SOURCE, PLANE, PRINCIPAL, KEY, ROLE, TENANT, SWITCH, ACTIVATION})

# What a kill switch can stop: everything of the tenant, one API key, one principal, one connector.
TARGETS: Final = (TENANT, KEY, PRINCIPAL, CONNECTOR)

READY, CONNECTED, ERROR = "ready", "connected", "error"


class Row(Struct, frozen=True, kw_only=True):
    """One thing the registry holds.

    ``version`` counts the writes of this row from 1 and goes on where a removed id is used again. ``sequence`` is
    the tenant's: every write takes the next one, so a reader who has seen a sequence has seen everything before it.
    ``by`` is the id of who wrote, ``at`` microseconds since the epoch. A removed row stays, ``deleted``, for those
    who follow.
    """

    tenant: str
    kind: str
    id: str
    version: int
    sequence: int
    document: dict[str, Any]
    by: str
    at: int
    deleted: bool = False


class Switch(Struct, frozen=True, kw_only=True):
    """A kill switch that is set: what it stops (``target`` is one of ``TARGETS``), why, who set it and when.

    ``reason`` is shown to the caller that is refused: it holds nothing that only administrators may know.
    """

    target: str
    id: str
    reason: str
    by: str
    at: int  # microseconds since the epoch
    evidence_id: str | None = None  # of the change, where it has just been made


class Statistics(Struct, frozen=True, kw_only=True):
    """Counts of one connector since the process started. ``last_error_at`` in microseconds since the epoch."""

    calls: int = 0
    errors: int = 0
    in_flight: int = 0
    circuit: str = "closed"
    last_error: str | None = None
    last_error_at: int | None = None

    @property
    def status(self) -> str:
        """``error`` while the circuit is not closed, ``connected`` after the first exchange, else ``ready``."""
        if self.circuit != "closed":
            return ERROR
        return CONNECTED if self.calls else READY


class ConnectorView(Struct, frozen=True, kw_only=True):
    """A configured connector as lists show it. Nothing in it is secret: the credential is a reference."""

    id: str
    kind: str
    status: str
    base_url: str
    credential: str | None
    labels: dict[str, str]
    operations: tuple[str, ...]
    statistics: Statistics
    capabilities: tuple[str, ...] = ()
    declared: bool = True  # by sidecar.yaml; otherwise an admin registered it
    version: int | None = None  # of the registry's row: what If-Match names
    by: str | None = None
    at: int | None = None  # microseconds since the epoch
    problems: tuple[str, ...] = ()  # why it is not served, or not complete
