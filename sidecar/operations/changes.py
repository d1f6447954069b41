"""Every change an administrator makes, with its evidence: durable before it is made, and before it is acknowledged.

The two records are described in ``model.evidence.Change``. A first record without its second means that the process
ended in between; whether the change was made shows in what was changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from sidecar.errors import SidecarError, Unavailable
from sidecar.model.evidence import CHANGE, LEAF_VERSION, Change, CredentialUse, Leaf, Receipt
from sidecar.model.registry import Row
from sidecar.ports import EvidenceLog, RegistryStore

PUT, REMOVE = "put", "remove"
Result = TypeVar("Result")
_encode = msgspec.json.Encoder(order="deterministic").encode


class Who(NamedTuple):
    """Who changes something: the principal's id, and that of the API key that was shown."""

    principal: str
    key: str | None = None


class Entry(NamedTuple):
    """What a record says of a change. ``reasons`` are what was known and did not keep it from being made."""

    change: Change
    credential: CredentialUse | None = None
    reasons: tuple[dict[str, str], ...] = ()


class Made(NamedTuple, Generic[Result]):
    """What the change gave, and the evidence id of its second record."""

    result: Result
    evidence_id: str


class Changed(NamedTuple):
    """The row as it is now, and the evidence id of its second record."""

    row: Row
    evidence_id: str


class ChangeLog:
    """Records what is changed, whatever it is."""

    def __init__(self, evidence: EvidenceLog, tenant: str, new_id: Callable[[], str]) -> None:
        self._evidence = evidence
        self._tenant = tenant
        self._new_id = new_id

    async def make(
        self, entry: Entry, by: Who, write: Callable[[], Awaitable[Result]], told: Callable[[Result], Entry]
    ) -> Made[Result]:
        """Record ``entry``, ``write``, and record what ``told`` says of it.

        Raises what ``write`` does, recorded with its code, and ``Unavailable("evidence_unavailable")``: before
        anything was written, or, as its text says, after.
        """
        call_id = self._new_id()
        first = await self._evidence.append(self._leaf(call_id, by, entry))
        try:
            result = await write()
        except SidecarError as error:
            await self._evidence.append(self._leaf(call_id, by, entry, first.index, error.code))
            raise
        second = await self._second(self._leaf(call_id, by, told(result), first.index))
        return Made(result, second.id)

    def digest(self, document: object | None) -> str | None:
        """HMAC-SHA-256 of a document, as the log's other digests; None of nothing."""
        return None if document is None else self._evidence.digest(_encode(document))

    async def _second(self, leaf: Leaf) -> Receipt:
        try:
            return await self._evidence.append(leaf)
        except Unavailable as error:
            raise Unavailable(
                error.code, f"The change was made, but what came of it could not be recorded. {error.detail}"
            ) from None

    def _leaf(self, call_id: str, by: Who, entry: Entry, of: int | None = None, code: str | None = None) -> Leaf:
        return Leaf(
            v=LEAF_VERSION,
            kind=CHANGE,
            origin="",
            index=-1,
            call_id=call_id,
            time=0,
            tenant=self._tenant,
            principal=by.principal,
            key=by.key,
            surface="admin",
            code=code,
            reasons=entry.reasons,
            credential=entry.credential,
            change=entry.change if of is None else replace(entry.change, of=of),
        )


class Changes:
    """Changes of the registry. ``noticed`` is called with every row that was written, before it is acknowledged: what
    follows the registry in this process need not wait for its next look.
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
        self._log = ChangeLog(evidence, tenant, new_id)
        self._noticed = noticed

    async def put(self, kind: str, id: str, document: dict[str, Any], *, before: Row | None, by: str) -> Changed:
        """Write a row over ``before``, as it was read; None: a new one.

        Raises what ``RegistryStore.put`` does, and ``Unavailable("evidence_unavailable")``: before anything was
        written, or, as its text says, after.
        """
        change = Change(kind=kind, id=id, verb=PUT, before=self._digest(before), after=self._log.digest(document))
        expected = before.version if before else None
        return await self._make(change, by, lambda: self._store.put(kind, id, document, expected=expected, by=by))

    async def remove(self, before: Row, *, by: str) -> Changed:
        """Remove the row ``before``, as it was read. Raises as ``put`` does."""
        change = Change(kind=before.kind, id=before.id, verb=REMOVE, before=self._digest(before))
        return await self._make(
            change, by, lambda: self._store.remove(before.kind, before.id, expected=before.version, by=by)
        )

    async def _make(self, change: Change, by: str, write: Callable[[], Awaitable[Row]]) -> Changed:
        async def written() -> Row:
            row = await write()
            self._noticed(row)
            return row

        made = await self._log.make(
            Entry(change), Who(by), written, lambda row: Entry(replace(change, version=row.version))
        )
        return Changed(made.result, made.evidence_id)

    def _digest(self, row: Row | None) -> str | None:
        return None if row is None else self._log.digest(row.document)
