"""Every change of the registry, with its evidence: durable before it is written, and again before it is acknowledged.

The two records are described in ``model.evidence.Change``. A first record without its second means that the process
ended in between; whether the change was made shows in the registry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from sidecar.errors import SidecarError, Unavailable
from sidecar.model.evidence import CHANGE, LEAF_VERSION, Change, Leaf, Receipt
from sidecar.model.registry import Row
from sidecar.ports import EvidenceLog, RegistryStore

PUT, REMOVE = "put", "remove"
_encode = msgspec.json.Encoder(order="deterministic").encode


class Changed(NamedTuple):
    """The row as it is now, and the evidence id of its second record."""

    row: Row
    evidence_id: str


class Changes:
    """``noticed`` is called with every row that was written, before it is acknowledged: what follows the registry
    in this process need not wait for its next look.
    """

    def __init__(
        self,
        store: RegistryStore,
        evidence: EvidenceLog,
        tenant: str,
        new_id: Callable[[], str],
        noticed: Callable[[Row], None],
    ) -> None:
        self._store = store
        self._evidence = evidence
        self._tenant = tenant
        self._new_id = new_id
        self._noticed = noticed

    async def put(self, kind: str, id: str, document: dict[str, Any], *, before: Row | None, by: str) -> Changed:
        """Write a row over ``before``, as it was read; None: a new one.

        Raises what ``RegistryStore.put`` does, and ``Unavailable("evidence_unavailable")``: before anything was
        written, or, as its text says, after.
        """
        change = Change(
            kind=kind, id=id, verb=PUT, before=self._digest(before), after=self._evidence.digest(_encode(document))
        )
        expected = before.version if before else None
        return await self._make(change, by, lambda: self._store.put(kind, id, document, expected=expected, by=by))

    async def remove(self, before: Row, *, by: str) -> Changed:
        """Remove the row ``before``, as it was read. Raises as ``put`` does."""
        change = Change(kind=before.kind, id=before.id, verb=REMOVE, before=self._digest(before))
        return await self._make(
            change, by, lambda: self._store.remove(before.kind, before.id, expected=before.version, by=by)
        )

    async def _make(self, change: Change, by: str, write: Callable[[], Awaitable[Row]]) -> Changed:
        call_id = self._new_id()
        first = await self._evidence.append(self._leaf(call_id, by, change))
        change = replace(change, of=first.index)
        try:
            row = await write()
        except SidecarError as error:
            await self._evidence.append(self._leaf(call_id, by, change, error.code))
            raise
        self._noticed(row)
        second = await self._second(self._leaf(call_id, by, replace(change, version=row.version)))
        return Changed(row, second.id)

    async def _second(self, leaf: Leaf) -> Receipt:
        try:
            return await self._evidence.append(leaf)
        except Unavailable as error:
            raise Unavailable(
                error.code, f"The change was made, but what came of it could not be recorded. {error.detail}"
            ) from None

    def _digest(self, row: Row | None) -> str | None:
        return None if row is None else self._evidence.digest(_encode(row.document))

    def _leaf(self, call_id: str, by: str, change: Change, code: str | None = None) -> Leaf:
        return Leaf(
            v=LEAF_VERSION,
            kind=CHANGE,
            origin="",
            index=-1,
            call_id=call_id,
            time=0,
            tenant=self._tenant,
            principal=by,
            surface="admin",
            code=code,
            change=change,
        )
