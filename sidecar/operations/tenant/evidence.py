"""Evidence for a tenant's auditors and admins: every record of the tenant, as it is stored."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.errors import Refused
from sidecar.model.evidence import Leaf
from sidecar.ports import EvidenceReader


class Evidence:
    """Reads the log of this sidecar, whose name is ``origin``; records of another tenant are never shown."""

    def __init__(self, reader: EvidenceReader, origin: str, tenant: str) -> None:
        self._reader = reader
        self._origin = origin
        self._tenant = tenant

    async def recent(
        self, principal: str | None, limit: int, before: int | None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Newest first, of one principal or of all; and the ``before`` of the next page."""
        leaves, following = await self._reader.recent(principal, limit, before)
        return [_shown(leaf) for leaf in leaves if leaf.tenant == self._tenant], following

    async def one(self, origin: str, index: str) -> dict[str, Any]:
        """One record. Raises ``Refused("unknown_evidence")``."""
        leaf: Leaf | None = None
        if origin == self._origin and index.isascii() and index.isdecimal() and len(index) < 19:
            leaf = await self._reader.read(int(index))
        if leaf is None or leaf.tenant != self._tenant:
            raise Refused("unknown_evidence", "There is no record of this id in this sidecar's log.")
        return _shown(leaf)


def _shown(leaf: Leaf) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(leaf)
    return {"evidence_id": f"{leaf.origin}/{leaf.index}"} | document
