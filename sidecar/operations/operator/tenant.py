"""The tenant's record (M26): active or suspended. A suspended tenant is denied everywhere, its admins included."""

from __future__ import annotations

from typing import Any

from sidecar.model.admin import TenantView
from sidecar.model.registry import TENANT, Row
from sidecar.operations.registered import ANY_VERSION, Register, Registered
from sidecar.rules.registered import ACTIVE, SUSPENDED


class TenantRecord:
    """The one tenant of this sidecar. Where nothing was ever recorded, it is active."""

    def __init__(self, registered: Registered, register: Register) -> None:
        self._registered = registered
        self._register = register

    def shown(self) -> TenantView:
        """The record as it is."""
        id = self._registered.declared.tenant
        row = self._registered.row(TENANT, id)
        if row is None:
            return TenantView(id=id, status=ACTIVE, reason=None)
        document = row.document
        return TenantView(
            id=id, status=document["status"], reason=document["reason"], version=row.version, by=row.by, at=row.at
        )

    async def suspend(self, reason: str, by: str) -> TenantView:
        """Deny everything from now on: calls are refused ``tenant_suspended``."""
        return await self._write(SUSPENDED, reason, by)

    async def activate(self, reason: str, by: str) -> TenantView:
        """Serve the tenant again."""
        return await self._write(ACTIVE, reason, by)

    async def _write(self, status: str, reason: str, by: str) -> TenantView:
        id = self._registered.declared.tenant
        document: dict[str, Any] = {"status": status, "reason": reason}

        def change(_: Row | None) -> dict[str, Any]:
            return document

        version = None if self._registered.row(TENANT, id) is None else ANY_VERSION
        await self._register.put(TENANT, id, change, version=version, by=by, complete=False)
        return self.shown()
