"""The data-source registry (M07): list, show, register, change, activate, deactivate, deprecate, remove, test."""

from __future__ import annotations

from typing import Any

from sidecar.config.faults import Faults
from sidecar.config.load import entry
from sidecar.config.sections import SourceSection
from sidecar.model.admin import Removed, SourceView, StatisticsView
from sidecar.model.call import Outcome
from sidecar.model.principal import Principal
from sidecar.model.registry import SOURCE, Row
from sidecar.operations.registered import (
    ANY_VERSION,
    Register,
    Registered,
    check_draft,
    sentences,
    unknown,
    unless_changed,
)
from sidecar.operations.tenant.connectors import FAILED, Connectors
from sidecar.rules.lifecycle import (
    ACTIVATE,
    ACTIVE,
    COMPLETE,
    CONFIGURE,
    CONFIGURING,
    DEACTIVATE,
    DEPRECATE,
    ERROR,
    FAIL,
    INACTIVE,
    PENDING,
    after,
)
from sidecar.rules.lifecycle import SOURCE as TABLE


class Sources:
    """Data sources, each served by a connector."""

    def __init__(self, registered: Registered, register: Register, connectors: Connectors) -> None:
        self._registered = registered
        self._register = register
        self._connectors = connectors

    def listed(self) -> list[SourceView]:
        """Every source, declared or registered, by id."""
        views = [_declared(id, section) for id, section in self._registered.declared.sources.items()]
        views += [self._view(row) for row in self._registered.of(SOURCE) if not self._is_declared(row.id)]
        return sorted(views, key=lambda view: view.id)

    def shown(self, id: str) -> SourceView:
        """One source. Raises ``Refused("unknown_source")``."""
        section = self._registered.declared.sources.get(id)
        if section is not None:
            return _declared(id, section)
        row = self._registered.row(SOURCE, id)
        if row is None:
            raise unknown(SOURCE, id)
        return self._view(row)

    async def save(
        self, id: str, section: dict[str, Any], *, draft: bool, version: int | None, by: str
    ) -> SourceView:
        """Register a source or give it a new document; a ``draft`` is kept and not served: ``pending`` while it is
        empty but for its type, then ``configuring``."""
        if draft:
            check_draft(SOURCE, id, section)

        def change(row: Row | None) -> dict[str, Any]:
            before = row.document["status"] if row else PENDING
            status = after(TABLE, before, CONFIGURE)
            if draft:
                status = PENDING if not set(section) - {"type"} else CONFIGURING
            else:
                status = after(TABLE, status, COMPLETE)
                if before == INACTIVE:  # what an admin took out of service does not come back by an edit
                    status = after(TABLE, status, DEACTIVATE)
            return {"section": section, "status": status}

        await self._register.put(SOURCE, id, change, version=version, by=by, complete=not draft)
        return self.shown(id)

    async def remove(self, id: str, *, version: int, by: str) -> Removed:
        """Take a source away. Raises ``Refused``: in_use while a plane needs it."""
        changed = await self._register.remove(SOURCE, id, version=version, by=by)
        return Removed(id=id, version=changed.row.version, evidence_id=changed.evidence_id)

    async def activate(self, id: str, *, by: str) -> SourceView:
        """Put a source in service."""
        return await self._move(id, ACTIVATE, by)

    async def deactivate(self, id: str, *, by: str) -> SourceView:
        """Take a source out of service: calls by its planes are refused ``inactive``."""
        return await self._move(id, DEACTIVATE, by)

    async def deprecate(self, id: str, *, by: str) -> SourceView:
        """Retire a source for good."""
        return await self._move(id, DEPRECATE, by)

    async def test(self, id: str, operation: str, parameters: Any, asker: Principal) -> Outcome:
        """Run an operation of its connector through the one path. One that fails puts a registered source in
        ``error``; one that goes through takes it out of it."""
        view = self.shown(id)
        row = None if view.declared else self._registered.row(SOURCE, id)
        outcome = await self._connectors.execute(view.connector, operation, parameters, None, asker)
        if row is not None and not view.problems and view.status in (ACTIVE, ERROR):
            failed = outcome.status >= FAILED
            if failed != (view.status == ERROR):
                with unless_changed():
                    await self._move(id, FAIL if failed else ACTIVATE, asker.id, row.version)
        return outcome

    def statistics(self, id: str) -> StatisticsView:
        """The counts of its connector."""
        return self._connectors.statistics(self.shown(id).connector)

    async def _move(self, id: str, event: str, by: str, version: int = ANY_VERSION) -> SourceView:
        def change(row: Row | None) -> dict[str, Any]:
            assert row is not None
            return row.document | {"status": after(TABLE, row.document["status"], event)}

        await self._register.put(SOURCE, id, change, version=version, by=by, complete=event == ACTIVATE)
        return self.shown(id)

    def _is_declared(self, id: str) -> bool:
        return self._registered.is_declared(SOURCE, id)

    def _view(self, row: Row) -> SourceView:
        section, problems = row.document["section"], self._registered.problems(SOURCE, row.id)
        status = ERROR if problems else row.document["status"]
        if status in (PENDING, CONFIGURING):
            found = Faults("registry")
            entry("sources", row.id, section, found)
            problems = sentences(found.errors)
        return SourceView(
            id=row.id,
            type=str(section.get("type", "api")),
            connector=str(section.get("connector", "")),
            status=status,
            declared=False,
            version=row.version,
            by=row.by,
            at=row.at,
            problems=problems,
        )


def _declared(id: str, section: SourceSection) -> SourceView:
    return SourceView(id=id, type=section.type, connector=section.connector, status=ACTIVE, declared=True)
