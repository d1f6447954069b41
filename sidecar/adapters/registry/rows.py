"""What every store does alike: its verbs over one table, and the checks of what goes in and what comes out.

Storage is not trusted: a row that is not the tenant's, or whose document is none, is never handed on (INV-4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import KINDS, Row
from sidecar.ports import Clock

LONGEST_ID: Final = 200  # characters
LARGEST_DOCUMENT: Final = 256 << 10  # bytes of JSON
MOST_ROWS: Final = 10_000  # of one answer

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Statements(NamedTuple):
    """The same five in each database's own SQL, their values in the same order.

    ``get`` tenant, kind, id; ``find`` tenant, kind, after, limit; ``changes`` tenant, after, limit; ``insert``
    tenant, kind, id, sequence, document, by, at; ``update`` sequence, document, by, at, deleted, tenant, kind, id,
    version.
    """

    get: str
    find: str
    changes: str
    insert: str
    update: str


class Table(ABC):
    """The verbs of a ``RegistryStore`` of ``tenant``; a database asks and writes in its own way."""

    def __init__(self, statements: Statements, tenant: str, clock: Clock) -> None:
        self._statements = statements
        self._tenant = tenant
        self._clock = clock

    async def get(self, kind: str, id: str) -> Row | None:
        """One row; None where there is none, or where it was removed."""
        check_kind(kind)
        check_id(id)
        found = await self._all(self._statements.get, kind, id)
        return found[0] if found else None

    async def find(self, kind: str, *, after: str | None = None, limit: int = 500) -> list[Row]:
        """Rows of a kind by id, from the first id greater than ``after``."""
        check_kind(kind)
        if after:
            check_id(after)
        return await self._all(self._statements.find, kind, after or "", min(limit, MOST_ROWS))

    async def changes(self, after: int, limit: int) -> list[Row]:
        """Rows whose sequence is greater than ``after``, by sequence, removed ones included."""
        return await self._all(self._statements.changes, after, min(limit, MOST_ROWS))

    async def put(self, kind: str, id: str, document: dict[str, Any], *, expected: int | None, by: str) -> Row:
        """Write a whole row over version ``expected``; None: there must be none now."""
        check_kind(kind)
        check_id(id)
        text, at = encoded(document), self._clock.now()
        if expected is not None:
            return await self._update(kind, id, expected, (text, by, at, False))
        return await self._write(
            self._statements.insert,
            lambda sequence: (self._tenant, kind, id, sequence, text, by, at),
            conflict(kind, id, None),
        )

    async def remove(self, kind: str, id: str, *, expected: int, by: str) -> Row:
        """Remove a row of version ``expected``."""
        check_kind(kind)
        check_id(id)
        return await self._update(kind, id, expected, (None, by, self._clock.now(), True))

    async def _update(self, kind: str, id: str, expected: int, values: tuple[object, ...]) -> Row:
        return await self._write(
            self._statements.update,
            lambda sequence: (sequence, *values, self._tenant, kind, id, expected),
            conflict(kind, id, expected),
        )

    @abstractmethod
    async def _all(self, statement: str, *values: object) -> list[Row]:
        """Every row that the statement finds for the tenant, which is its first value."""

    @abstractmethod
    async def _write(self, statement: str, values: Callable[[int], tuple[object, ...]], conflict: Refused) -> Row:
        """The row that the statement wrote, with the values for the next sequence, in one transaction.

        Raises ``conflict`` where it wrote none.
        """


def check_kind(kind: str) -> None:
    """Raises ``Refused("invalid_payload")`` for a kind that is none of ``KINDS``."""
    if kind not in KINDS:
        raise Refused("invalid_payload", f"The registry holds no {kind!r}. It holds: {', '.join(sorted(KINDS))}.")


def check_id(id: str) -> None:
    """Raises ``Refused("invalid_payload")`` for an id that no store could keep as it is."""
    if not 1 <= len(id) <= LONGEST_ID or "\0" in id or not _is_unicode(id):
        raise Refused("invalid_payload", f"An id has 1 to {LONGEST_ID} characters, and U+0000 is none of them.")


def encoded(document: dict[str, Any]) -> str:
    """The document as JSON text. Raises ``Refused("invalid_payload")`` where it is too large or not Unicode."""
    try:
        text = _encode(document)
    except UnicodeEncodeError:
        raise Refused("invalid_payload", "The document has text that is not Unicode.") from None
    if len(text) > LARGEST_DOCUMENT:
        raise Refused("invalid_payload", f"The document has more than {LARGEST_DOCUMENT} bytes of JSON.")
    return text.decode()


def conflict(kind: str, id: str, expected: int | None) -> Refused:
    """The refusal of a write whose row is not as its writer expected."""
    found = "exists already" if expected is None else f"is not of version {expected} any more"
    return Refused("conflict", f"The {kind} {id!r} {found}. Read it again and decide anew.")


def read(tenant: str, fields: Sequence[Any]) -> Row:
    """A row from the columns of its table, in their order. Raises ``Unavailable("registry_unavailable")``."""
    owner, kind, id, version, sequence, document, by, at, deleted = fields
    if owner != tenant:
        raise Unavailable("registry_unavailable", "The registry gave a row of another tenant; it was not used.")
    if not all(isinstance(text, str) for text in (kind, id, by)):  # SQLite keeps in a column whatever is put there
        raise Unavailable("registry_unavailable", "The registry has a row without a readable kind, id or author.")
    try:
        value = msgspec.json.decode(document, type=dict[str, Any])
        return Row(
            tenant=owner,
            kind=kind,
            id=id,
            version=int(version),
            sequence=int(sequence),
            document=value,
            by=by,
            at=int(at),
            deleted=bool(deleted),
        )
    except (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError):
        raise Unavailable("registry_unavailable", f"The registry's {kind} {id!r} cannot be read.") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
