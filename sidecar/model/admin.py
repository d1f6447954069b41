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


class Bound(Struct, frozen=True, kw_only=True):
    """A credential as ``sidecar.yaml`` names it: ``id`` is its name there. With ``oauth`` the value is a secret of a
    client, that access tokens are got with.
    """

    id: str
    reference: str
    hosts: tuple[str, ...]
    connectors: tuple[str, ...]
    positions: tuple[str, ...]
    oauth: bool


class HeldVersion(Struct, frozen=True, kw_only=True):
    """A version of a remote credential that is kept, encrypted, for calls; renewed or forgotten in ``seconds``."""

    version: str
    seconds: float


class CredentialView(Struct, frozen=True, kw_only=True):
    """A credential, never its value. ``created`` and ``updated`` are UTC, RFC 3339, of the value.

    ``state`` is ok, broken (it is there and does not open), missing (the configuration names it, its store has none)
    or unknown (its store does not answer). ``changeable`` is False where whoever lends or declares it changes it.
    ``overdue_days`` counts from the end of ``rotate_days`` and is below 0 before it. ``bindings`` are all places of
    the configuration that name it, ``used_by`` the connectors in service that need it.
    """

    reference: str
    kind: str | None
    version: str | None
    state: str
    changeable: bool
    created: str | None = None
    updated: str | None = None
    expires: int | None = None
    expired: bool = False
    rotate_days: int | None = None
    overdue_days: float | None = None
    bindings: tuple[Bound, ...] = ()
    used_by: tuple[str, ...] = ()
    held: tuple[HeldVersion, ...] = ()
    evidence_id: str | None = None  # of the change, where it has just been made


class StoreFault(Struct, frozen=True, kw_only=True):
    """A store of credentials that did not answer: what it has is not in the list. ``reason`` says why."""

    store: str
    code: str
    reason: str
    message: str


class CredentialPage(Struct, frozen=True, kw_only=True):
    """Credentials; ``next`` is the ``after`` of the next page, or null. A list is whole only without ``faults``."""

    credentials: tuple[CredentialView, ...]
    faults: tuple[StoreFault, ...]
    next: str | None


class RemovedCredential(Struct, frozen=True, kw_only=True):
    """What was deleted, the connectors in service that were left without it, and the evidence of it."""

    reference: str
    version: str
    left_without: tuple[str, ...]
    evidence_id: str


class Access(Struct, frozen=True, kw_only=True):
    """One use of a credential by a call, or one change of it by an administrator.

    ``verb`` is use, store, rotate, amend or delete. ``code`` is allowed (the call was answered; ``status`` is the
    upstream's), done (the change was made), unknown (the process ended before the call's outcome was recorded), or
    why it was refused or failed, with ``reasons``. ``version`` is None where none was resolved, ``reference`` where
    the record does not name it.
    """

    evidence_id: str
    at: int
    verb: str
    reference: str | None
    version: str | None
    principal: str | None
    key_id: str | None
    surface: str
    connector: str | None
    operation: str | None
    call_id: str
    code: str
    reasons: tuple[str, ...] = ()
    status: int | None = None


class Accesses(Struct, frozen=True, kw_only=True):
    """Accesses, newest first; ``next`` is the ``before`` of the next page, or null. A page may come short."""

    accesses: tuple[Access, ...]
    next: int | None
