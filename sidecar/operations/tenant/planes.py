"""Knowledge planes (M07): list, show, register, change, enable, disable, remove."""

from __future__ import annotations

from typing import Any

from sidecar.errors import Refused
from sidecar.model.admin import PlaneView, Removed
from sidecar.model.registry import PLANE, Row
from sidecar.operations.registered import ANY_VERSION, Register, Registered, unknown
from sidecar.rules.lifecycle import ACTIVE, ERROR, INACTIVE


class Planes:
    """Planes are what agents name; each binds the reading operations of one source."""

    def __init__(self, registered: Registered, register: Register) -> None:
        self._registered = registered
        self._register = register

    def listed(self) -> list[PlaneView]:
        """Every plane, declared or registered, by id."""
        ids = {row.id for row in self._registered.of(PLANE)} | set(self._registered.declared.planes)
        return [self.shown(id) for id in sorted(ids)]

    def shown(self, id: str) -> PlaneView:
        """One plane. Raises ``Refused("unknown_plane")``."""
        section = self._registered.declared.planes.get(id)
        if section is not None:
            actions: dict[str, tuple[str, ...]] = dict(section.actions.items())
            return PlaneView(
                id=id, source=section.source, owner=section.owner, actions=actions, status=ACTIVE, declared=True
            )
        row = self._registered.row(PLANE, id)
        if row is None:
            raise unknown(PLANE, id)
        written, problems = row.document["section"], self._registered.problems(PLANE, id)
        return PlaneView(
            id=id,
            source=str(written.get("source", "")),
            owner=owner if isinstance(owner := written.get("owner"), str) else None,
            actions=_actions(written.get("actions")),
            status=ERROR if problems else row.document["status"],
            declared=False,
            version=row.version,
            by=row.by,
            at=row.at,
            problems=problems,
        )

    async def save(self, id: str, section: dict[str, Any], *, version: int | None, by: str) -> PlaneView:
        """Register a plane or give it a new document."""

        def change(row: Row | None) -> dict[str, Any]:
            return {"section": section, "status": row.document["status"] if row else ACTIVE}

        await self._register.put(PLANE, id, change, version=version, by=by)
        return self.shown(id)

    async def remove(self, id: str, *, version: int, by: str) -> Removed:
        """Take a plane away."""
        changed = await self._register.remove(PLANE, id, version=version, by=by)
        return Removed(id=id, version=changed.row.version, evidence_id=changed.evidence_id)

    async def enable(self, id: str, *, by: str) -> PlaneView:
        """Put a plane in service."""
        return await self._move(id, ACTIVE, by)

    async def disable(self, id: str, *, by: str) -> PlaneView:
        """Take a plane out of service: calls by it are refused ``inactive``."""
        return await self._move(id, INACTIVE, by)

    async def _move(self, id: str, status: str, by: str) -> PlaneView:
        def change(row: Row | None) -> dict[str, Any]:
            if row is None:
                raise Refused("unknown_plane", f"There is no plane {id!r}.")
            return row.document | {"status": status}

        await self._register.put(PLANE, id, change, version=ANY_VERSION, by=by, complete=status == ACTIVE)
        return self.shown(id)


def _actions(written: object) -> dict[str, tuple[str, ...]]:
    """As far as they are any: a row that somebody edited is shown with its problems, and hides no other."""
    named = written if isinstance(written, dict) else {}
    return {action: tuple(map(str, names)) for action, names in named.items() if isinstance(names, list)}
