"""The connector registry (M06): list, show, register, change, connect, disconnect, deprecate, remove, run.

What ``sidecar.yaml`` declares is listed and can be run, and is changed there only. Whatever runs, runs through the
one path, as the one who asks, and policy must grant it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from sidecar.config.faults import Faults
from sidecar.config.load import entry
from sidecar.errors import Reason, Refused
from sidecar.model.admin import HealthView, Removed, StatisticsView
from sidecar.model.call import Call, Outcome
from sidecar.model.principal import Principal
from sidecar.model.registry import CONNECTOR, ConnectorView, Row, Statistics
from sidecar.operations.registered import (
    ANY_VERSION,
    Register,
    Registered,
    check_draft,
    sentences,
    unknown,
    unless_changed,
)
from sidecar.rules.catalogue import Catalogue, Connector
from sidecar.rules.lifecycle import (
    COMPLETE,
    CONFIGURE,
    CONFIGURING,
    CONNECT,
    CONNECTED,
    DEPRECATE,
    DISCONNECT,
    DISCONNECTED,
    ERROR,
    FAIL,
    READY,
    REGISTERED,
    after,
)
from sidecar.rules.lifecycle import CONNECTOR as TABLE

# Who the local owner's test runs as: policy sees and judges it like any caller, so a test needs a grant too. No id of
# a configuration has a colon, so no configured principal can be granted what is granted to it, nor the other way.
TESTER_ID = "system:admin"
TESTER_ROLES = ("tenant-admin",)

FAILED = 400  # an answer of the upstream from here on is no success


class Connectors:
    """``handle`` is the one path; ``catalogue``, ``statistics`` and ``connections`` (open, resting, waiting) give the
    moment's values."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        statistics: Callable[[str], Statistics],
        connections: Callable[[str], tuple[int, int, int]],
        handle: Callable[[Call], Awaitable[Outcome]],
        new_id: Callable[[], str],
        registered: Registered,
        register: Register,
    ) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._connections = connections
        self._handle = handle
        self._new_id = new_id
        self._registered = registered
        self._register = register

    def listed(self) -> list[ConnectorView]:
        """Every connector, declared or registered, by id."""
        stored = {row.id: row for row in self._registered.of(CONNECTOR) if not self._is_declared(row.id)}
        ids = self._catalogue().connectors.keys() | stored.keys()
        return [self._view(id, stored.get(id)) for id in sorted(ids)]

    def shown(self, id: str) -> ConnectorView:
        """One connector. Raises ``Refused("unknown_connector")``."""
        row = None if self._is_declared(id) else self._registered.row(CONNECTOR, id)
        if row is None and id not in self._catalogue().connectors:
            raise unknown(CONNECTOR, id)
        return self._view(id, row)

    async def save(
        self, id: str, section: dict[str, Any], *, draft: bool, version: int | None, by: str
    ) -> ConnectorView:
        """Register a connector or give it a new document, checked with everything else.

        A ``draft`` need not be complete: it is kept and not served, as ``registered`` while it is nothing but a kind,
        then as ``configuring``.
        """
        if draft:
            check_draft(CONNECTOR, id, section)

        def change(row: Row | None) -> dict[str, Any]:
            before = row.document["status"] if row else REGISTERED
            status = after(TABLE, before, CONFIGURE)
            if draft:
                status = REGISTERED if not set(section) - {"kind", "labels"} else CONFIGURING
            else:
                status = after(TABLE, status, COMPLETE)
                if before == DISCONNECTED:  # what an admin took out of service does not come back by an edit
                    status = after(TABLE, status, DISCONNECT)
            return {"section": section, "status": status}

        await self._register.put(CONNECTOR, id, change, version=version, by=by, complete=not draft)
        return self.shown(id)

    async def remove(self, id: str, *, version: int, by: str) -> Removed:
        """Take a connector away. Raises ``Refused``: in_use while a source needs it."""
        changed = await self._register.remove(CONNECTOR, id, version=version, by=by)
        return Removed(id=id, version=changed.row.version, evidence_id=changed.evidence_id)

    async def connect(self, id: str, *, operation: str | None, parameters: Any, asker: Principal) -> ConnectorView:
        """Put a connector in service. With an ``operation``, which only a tenant's admin may run, it stays there only
        where that goes through the one path.

        Raises ``Refused``: ``forbidden``; ``not_connected`` where the operation failed. What was out of service is so
        again then; what was in service is in ``error``.
        """
        if operation is not None and not {*TESTER_ROLES} & {*asker.roles}:
            raise Refused("forbidden", f"To run an operation is for the role {TESTER_ROLES[0]}; connect without one.")
        was, row = await self._move(id, CONNECT, asker.id)
        if operation is not None:
            outcome = await self.execute(id, operation, parameters, None, asker)
            if outcome.status >= FAILED:
                with unless_changed():
                    await self._move(id, DISCONNECT if was == DISCONNECTED else FAIL, asker.id, row.version)
                raise _not_connected(id, operation, outcome)
        return self.shown(id)

    async def disconnect(self, id: str, *, by: str) -> ConnectorView:
        """Take a connector out of service: new calls are refused ``inactive``, resting connections end."""
        await self._move(id, DISCONNECT, by)
        return self.shown(id)

    async def deprecate(self, id: str, *, by: str) -> ConnectorView:
        """Retire a connector for good."""
        await self._move(id, DEPRECATE, by)
        return self.shown(id)

    async def execute(
        self, connector: str, operation: str, parameters: Any, idempotency_key: str | None, asker: Principal
    ) -> Outcome:
        """Run one operation through the one path, as ``asker``, whom policy must grant it."""
        call = Call(
            id=self._new_id(),
            surface="admin",
            action="execute",
            connector=connector,
            operation=operation,
            parameters=parameters,
            idempotency_key=idempotency_key,
            principal=asker,
            peer="admin",
        )
        return await self._handle(call)

    def health(self, id: str) -> HealthView:
        """How it does, from the calls it had."""
        view = self.shown(id)
        counts = view.statistics
        health = "unknown"
        if counts.circuit != "closed":
            health = "failing"
        elif counts.calls:
            health = "degraded" if counts.errors and counts.last_error is not None else "healthy"
        return HealthView(
            id=id,
            health=health,
            status=view.status,
            circuit=counts.circuit,
            last_error=counts.last_error,
            last_error_at=counts.last_error_at,
        )

    def statistics(self, id: str) -> StatisticsView:
        """Its counts, and its connections of now."""
        view = self.shown(id)
        opened, resting, waiting = self._connections(id)
        return StatisticsView(
            id=id,
            statistics=view.statistics,
            open_connections=opened,
            resting_connections=resting,
            waiting_calls=waiting,
        )

    async def _move(self, id: str, event: str, by: str, version: int = ANY_VERSION) -> tuple[str, Row]:
        """The status before, and the row as it is now."""
        was: list[str] = []

        def change(row: Row | None) -> dict[str, Any]:
            assert row is not None
            was.append(row.document["status"])
            return row.document | {"status": after(TABLE, was[0], event)}

        changed = await self._register.put(CONNECTOR, id, change, version=version, by=by, complete=event == CONNECT)
        return was[0], changed.row

    def _is_declared(self, id: str) -> bool:
        return self._registered.is_declared(CONNECTOR, id)  # the file goes first

    def _view(self, id: str, row: Row | None) -> ConnectorView:
        served = self._catalogue().connectors.get(id)
        counts = self._statistics(id)
        if row is None:
            assert served is not None
            return _compiled(served, counts.status, counts)
        problems = self._registered.problems(CONNECTOR, id)
        status = row.document["status"]
        if problems:
            status = ERROR
        elif status in (READY, CONNECTED) and counts.status != READY:
            status = counts.status
        if served is None or problems:
            return _written(row, status, problems or _faults(id, row.document["section"]), counts)
        view = _compiled(served, status, counts)
        return _of_row(view, row)


def _compiled(connector: Connector, status: str, counts: Statistics) -> ConnectorView:
    return ConnectorView(
        id=connector.id,
        kind=connector.kind,
        status=status,
        base_url=connector.section.base_url,
        credential=str(connector.binding.reference) if connector.binding else None,
        labels=connector.section.labels,
        operations=tuple(sorted(connector.operations)),
        statistics=counts,
        capabilities=tuple(sorted(connector.capabilities)),
    )


def _written(row: Row, status: str, problems: tuple[str, ...], counts: Statistics) -> ConnectorView:
    """What is not served, as it was written: nothing of it was believed yet."""
    section = row.document["section"]
    operations = section.get("operations")
    return ConnectorView(
        id=row.id,
        kind=str(section.get("kind", "")),
        status=status,
        base_url=str(section.get("base_url", "")),
        credential=None,
        labels={},
        operations=tuple(sorted(map(str, operations))) if isinstance(operations, dict) else (),
        statistics=counts,
        declared=False,
        version=row.version,
        by=row.by,
        at=row.at,
        problems=problems,
    )


def _of_row(view: ConnectorView, row: Row) -> ConnectorView:
    return replace(view, declared=False, version=row.version, by=row.by, at=row.at)


def _faults(id: str, section: Any) -> tuple[str, ...]:
    found = Faults("registry")
    entry("connectors", id, section, found)
    return sentences(found.errors)


def _not_connected(id: str, operation: str, outcome: Outcome) -> Refused:
    problem = outcome.problem
    why = Reason(problem.code, problem.detail) if problem else Reason("status", f"It answered {outcome.status}.")
    return Refused(
        "not_connected", f"The connector {id!r} did not connect: its operation {operation!r} failed.", [why]
    )
