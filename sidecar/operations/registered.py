"""What the registry holds, as this process serves it, and the one way to change it.

Rows are kept in memory: reading asks no store, and a store that is down stops changes only. Every write is checked
with everything else that is configured, recorded (``operations.changes``), written, served, and only then
acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from sidecar.config.faults import Fault, Faults
from sidecar.config.load import entry
from sidecar.config.sections import Config
from sidecar.errors import Reason, Refused
from sidecar.model.registry import TENANT, Row
from sidecar.operations.changes import Changed, Changes
from sidecar.rules.catalogue import IN_FORCE
from sidecar.rules.registered import KINDS_HELD, MAPS, UNREADABLE_TENANT, At, Combined, combine, is_readable

View = TypeVar("View")
ANY_VERSION = -1  # a verb that changes a status acts on the row as it is now
MOST_LISTED = 500
NOTHING_CHANGED: Final[Mapping[At, None]] = {}


class Registered:
    """The rows of the kinds that are served, and the configuration they make with the file's.

    ``declared`` gives the file's configuration of the moment; ``serve`` makes what ``combine`` gives with it what
    every next call is governed by, and raises where it cannot: then what was served goes on being served.
    """

    def __init__(self, declared: Callable[[], Config], serve: Callable[[], Awaitable[Combined]]) -> None:
        self._declared = declared
        self._serve = serve
        self._stale = False
        self._begun = False  # whether the registry was served once
        self._serving = asyncio.Lock()
        self.rows: dict[At, Row] = {}
        self.combined = Combined(declared(), IN_FORCE, {})

    def noticed(self, row: Row) -> None:
        """A row was read or written. Older versions than the known one are passed over."""
        known = self.rows.get((row.kind, row.id))
        if row.kind not in KINDS_HELD or (known is not None and known.sequence >= row.sequence):
            return
        if not row.deleted and not is_readable(row.kind, row.document):
            # Nobody is served by what cannot be read: a tenant's record might have said "suspended".
            stand_in = UNREADABLE_TENANT if row.kind == TENANT else {}
            row = replace(row, document=stand_in, deleted=row.kind != TENANT)
        self.rows[row.kind, row.id] = row
        self._stale = True

    def forget(self) -> None:
        """What was known is of another history of the registry; all of its rows follow."""
        self.rows.clear()
        self._stale = True

    def is_served(self) -> bool:
        """To be asked when every row was noticed: whether calls are governed by them, or once were."""
        self._begun = self._begun or not (self._stale or self._serving.locked())
        return self._begun

    @property
    def declared(self) -> Config:
        """The file's configuration of the moment."""
        return self._declared()

    def row(self, kind: str, id: str) -> Row | None:
        """The row, unless it is removed."""
        row = self.rows.get((kind, id))
        return None if row is None or row.deleted else row

    def of(self, kind: str) -> list[Row]:
        """Every row of a kind, by id."""
        return sorted((row for row in self.rows.values() if row.kind == kind and not row.deleted), key=lambda r: r.id)

    def is_declared(self, kind: str, id: str) -> bool:
        """Whether the file says so."""
        return kind in MAPS and id in getattr(self.declared, MAPS[kind])

    def problems(self, kind: str, id: str) -> tuple[str, ...]:
        """Why a row is not served, as sentences."""
        return sentences(self.combined.faults.get((kind, id), ()))

    async def refresh(self) -> None:
        """Serve what was noticed. A failed attempt is made again at the next."""
        async with self._serving:
            while self._stale:
                self._stale = False
                try:
                    self.combined = await self._serve()
                except BaseException:
                    self._stale = True
                    raise

    async def combine(
        self, declared: Config, changed: Mapping[At, dict[str, Any] | None] = NOTHING_CHANGED
    ) -> Combined:
        """The rows of now with a file's configuration, and with ``changed`` documents; None takes one away."""
        # Gathered here, because rows go on being noticed while the thread works.
        documents = {at: row.document for at, row in self.rows.items() if not row.deleted}
        for at, document in changed.items():
            documents.pop(at, None)
            if document is not None:
                documents[at] = document
        return await asyncio.to_thread(combine, declared, documents)


class Register:
    """Writes rows of the kinds that are served. ``by`` is who asks."""

    def __init__(self, registered: Registered, changes: Changes) -> None:
        self._registered = registered
        self._changes = changes
        self._changing = asyncio.Lock()

    async def put(
        self,
        kind: str,
        id: str,
        change: Callable[[Row | None], dict[str, Any]],
        *,
        version: int | None,
        by: str,
        complete: bool = True,
    ) -> Changed:
        """Write what ``change`` makes of the row as it is. ``version`` is the one the caller saw; None: a new row.

        Raises ``Refused``: declared, conflict, in_use, and ``invalid_payload`` with every fault, unless the document
        is not ``complete`` yet; and what ``change`` and ``Changes.put`` raise.
        """
        async with self._changing:
            row = self._matching(kind, id, version)
            document = change(row)
            if complete:
                await self._check(kind, id, document)
            changed = await self._changes.put(kind, id, document, before=row, by=by)
            await self._registered.refresh()
            return changed

    async def remove(self, kind: str, id: str, *, version: int, by: str) -> Changed:
        """Remove a row. Raises like ``put``; ``in_use`` while something else that is registered needs it."""
        async with self._changing:
            row = self._matching(kind, id, version)
            assert row is not None
            await self._check(kind, id, None)
            changed = await self._changes.remove(row, by=by)
            await self._registered.refresh()
            return changed

    def expect(self, kind: str, id: str, version: int) -> None:
        """For who changes other rows first: raises ``Refused`` as ``remove`` does where the row is not of ``version``
        or is not to be changed.
        """
        self._matching(kind, id, version)

    def _matching(self, kind: str, id: str, version: int | None) -> Row | None:
        if self._registered.is_declared(kind, id):
            raise declared(kind, id)
        row = self._registered.row(kind, id)
        if version is None and row is not None:
            raise Refused("conflict", f"There is a {kind} {id!r} already, of version {row.version}.")
        if version is not None and row is None:
            raise unknown(kind, id)
        if row is not None and version not in (row.version, ANY_VERSION):
            raise Refused(
                "conflict", f"The {kind} {id!r} is of version {row.version} by now. Read it again, then change it."
            )
        return row

    async def _check(self, kind: str, id: str, document: dict[str, Any] | None) -> None:
        before = self._registered.combined.faults
        after = (await self._registered.combine(self._registered.declared, {(kind, id): document})).faults
        mine = after.get((kind, id), ())
        if mine:
            raise Refused("invalid_payload", f"The {kind} {id!r} does not fit; see reasons.", _reasons(mine))
        broken = [(at, faults) for at, faults in after.items() if at not in before]
        if broken:
            names = ", ".join(f"{noun} {name!r}" for (noun, name), _ in broken)
            raise Refused(
                "in_use", f"Without this {kind} as it is, these would not be served: {names}. Change them first.",
                _reasons([fault for _, faults in broken for fault in faults]),
            )  # fmt: skip


@contextmanager
def unless_changed() -> Iterator[None]:
    """For a change that follows from a row of a known version: where somebody has changed it since, theirs stands."""
    try:
        yield
    except Refused as error:
        if error.code != "conflict":
            raise


def declared(kind: str, id: str) -> Refused:
    """The refusal to change what the file says."""
    return Refused("declared", f"sidecar.yaml declares the {kind} {id!r}. Change it there; the file is watched.")


def unknown(kind: str, id: str) -> Refused:
    """The refusal of an id that is not there."""
    code = f"unknown_{kind}"
    return Refused(code, f"There is no {kind} {id!r}.")


def check_draft(kind: str, id: str, section: dict[str, Any]) -> None:
    """Even what is not complete holds no secret and has an id (INV-5). Raises ``Refused("invalid_payload")``."""
    found = Faults("registry")
    entry(MAPS[kind], id, section, found)
    bad = [fault for fault in found.errors if fault.code in ("raw_secret", "wrong_key")]
    if bad:
        raise Refused("invalid_payload", "Not even a draft may say this; see reasons.", _reasons(bad))


def sentences(faults: Iterable[Fault]) -> tuple[str, ...]:
    """Faults for people."""
    return tuple(f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in faults)


def _reasons(faults: Iterable[Fault]) -> list[Reason]:
    return [
        Reason(fault.code, f"{fault.path}: {fault.message}" if fault.path else fault.message) for fault in faults
    ][:MOST_LISTED]


def page(
    views: Iterable[View], key: Callable[[View], str], limit: int, after: str | None
) -> tuple[list[View], str | None]:
    """At most ``limit`` views whose key is past ``after``, and the ``after`` of the next page, or None."""
    rest = sorted((view for view in views if after is None or key(view) > after), key=key)
    following = key(rest[limit - 1]) if len(rest) > limit else None
    return rest[:limit], following
