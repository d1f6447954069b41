"""A registry in memory: passes the contract suite of the stores, and can be told to fail."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import KINDS, Row
from sidecar.ports import Clock
from tests.fakes.clock import HeldClock


class FakeRegistryStore:
    """``rows`` is what is stored, by kind and id; ``available = False`` refuses everything, ``full`` every write.

    A row of another tenant that a test puts into ``rows`` is never handed out.
    """

    def __init__(self, tenant: str = "acme", clock: Clock | None = None) -> None:
        self._tenant = tenant
        self._clock = clock or HeldClock()
        self.rows: dict[tuple[str, str], Row] = {}
        self.available = True
        self.full = False
        self.asked = 0  # how often anything was asked of it

    async def get(self, kind: str, id: str) -> Row | None:
        self._answer(kind, id=id)
        row = self.rows.get((kind, id))
        return None if row is None or self._own(row).deleted else row

    async def find(self, kind: str, *, after: str | None = None, limit: int = 500) -> list[Row]:
        self._answer(kind, id=after or "x")
        found = [self._own(row) for (each, _), row in self.rows.items() if each == kind and not row.deleted]
        return sorted((row for row in found if after is None or row.id > after), key=lambda row: row.id)[:limit]

    async def changes(self, after: int, limit: int) -> list[Row]:
        self._answer(None)
        found = [self._own(row) for row in self.rows.values() if row.sequence > after]
        return sorted(found, key=lambda row: row.sequence)[:limit]

    async def put(self, kind: str, id: str, document: dict[str, Any], *, expected: int | None, by: str) -> Row:
        self._answer(kind, id=id, writes=True)
        encoded = json.dumps(document)
        if len(encoded.encode()) > 256 << 10:
            raise Refused("invalid_payload", "The document is not one that can be stored.")
        before = self.rows.get((kind, id))
        current = None if before is None or self._own(before).deleted else before.version
        if current != expected:
            raise Refused("conflict", f"The {kind} {id!r} is not as expected.")
        return self._store(
            Row(
                tenant=self._tenant,
                kind=kind,
                id=id,
                version=before.version + 1 if before else 1,
                sequence=self._next(),
                document=json.loads(encoded),
                by=by,
                at=self._clock.now(),
            )
        )

    async def remove(self, kind: str, id: str, *, expected: int, by: str) -> Row:
        self._answer(kind, id=id, writes=True)
        before = self.rows.get((kind, id))
        if before is None or self._own(before).deleted or before.version != expected:
            raise Refused("conflict", f"The {kind} {id!r} is not as expected.")
        return self._store(
            replace(
                before,
                version=before.version + 1,
                sequence=self._next(),
                by=by,
                at=self._clock.now(),
                deleted=True,
            )
        )

    def _answer(self, kind: str | None, *, id: str = "x", writes: bool = False) -> None:
        self.asked += 1
        if not self.available or (writes and self.full):
            raise Unavailable("registry_unavailable", "The registry does not answer.")
        if kind is not None and kind not in KINDS:
            raise Refused("invalid_payload", f"There is no kind {kind!r}.")
        if not 1 <= len(id) <= 200 or "\0" in id or any(0xD800 <= ord(letter) < 0xE000 for letter in id):
            raise Refused("invalid_payload", "The id is not one that can be stored.")

    def _own(self, row: Row) -> Row:
        if row.tenant != self._tenant:
            raise Unavailable("registry_unavailable", "A row is not the tenant's.")
        return row

    def _next(self) -> int:
        return max((row.sequence for row in self.rows.values()), default=0) + 1

    def _store(self, row: Row) -> Row:
        self.rows[row.kind, row.id] = row
        return row
