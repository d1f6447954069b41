"""What administrators see of the registries. Times are microseconds since the epoch; nothing in a view is secret.

``declared`` says that ``sidecar.yaml`` says so: such a thing has no ``version`` and is changed there.
``problems`` are sentences: why something registered is not served.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from sidecar.model.registry import Statistics


class SourceView(Struct, frozen=True, kw_only=True):
    """A data source. ``status`` is one of pending, configuring, active, inactive, error, deprecated."""

    id: str
    type: str
    connector: str
    status: str
    declared: bool
    version: int | None = None
    by: str | None = None
    at: int | None = None
    problems: tuple[str, ...] = ()


class PlaneView(Struct, frozen=True, kw_only=True):
    """A knowledge plane. ``status`` is active or inactive."""

    id: str
    source: str
    owner: str | None
    actions: dict[str, tuple[str, ...]]
    status: str
    declared: bool
    version: int | None = None
    by: str | None = None
    at: int | None = None
    problems: tuple[str, ...] = ()


class PrincipalView(Struct, frozen=True, kw_only=True):
    """A caller: its roles are its own and those that were granted to it; ``keys`` are ids."""

    id: str
    kind: str
    tenant: str
    roles: tuple[str, ...]
    labels: dict[str, str]
    keys: tuple[str, ...]
    declared: bool
    version: int | None = None
    by: str | None = None
    at: int | None = None
    problems: tuple[str, ...] = ()


class KeyView(Struct, frozen=True, kw_only=True):
    """An API key, without its secret. ``used`` counts its calls here since this process started."""

    id: str
    principal: str
    expires: int | None
    expired: bool
    used: int
    last_used: int | None
    declared: bool
    version: int | None = None
    by: str | None = None
    at: int | None = None
    problems: tuple[str, ...] = ()


class MadeKey(Struct, frozen=True, kw_only=True):
    """A new API key. ``key`` is shown here and never again: the registry keeps its hash."""

    id: str
    principal: str
    key: str
    expires: int | None
    version: int
    evidence_id: str


class RoleView(Struct, frozen=True, kw_only=True):
    """A role that a principal has. A declared one is part of the principal in ``sidecar.yaml``."""

    principal: str
    role: str
    declared: bool
    by: str | None = None
    at: int | None = None


class TenantView(Struct, frozen=True, kw_only=True):
    """The tenant's record. ``status`` is active or suspended; a suspended tenant is denied everywhere."""

    id: str
    status: str
    reason: str | None
    version: int | None = None
    by: str | None = None
    at: int | None = None


class HealthView(Struct, frozen=True, kw_only=True):
    """How a connector does, from the calls it had; nothing is sent to find out.

    ``health`` is unknown (no call yet), healthy, degraded (failures, the circuit is closed) or failing (it is not).
    """

    id: str
    health: str
    status: str
    circuit: str
    last_error: str | None
    last_error_at: int | None


class StatisticsView(Struct, frozen=True, kw_only=True):
    """Counts of a connector since this process started; connections are those of now."""

    id: str
    statistics: Statistics
    open_connections: int
    resting_connections: int
    waiting_calls: int


class Removed(Struct, frozen=True, kw_only=True):
    """What was removed, and the evidence of it."""

    id: str
    version: int
    evidence_id: str


class Records(Struct, frozen=True, kw_only=True):
    """Evidence records, newest first; ``next`` is the ``before`` of the next page, or null."""

    records: tuple[dict[str, Any], ...]
    next: int | None
