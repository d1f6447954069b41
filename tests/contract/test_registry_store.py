"""What every registry store promises: versions, one sequence, the tenant's own rows only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.registry.postgres import PostgresStore
from sidecar.adapters.registry.sqlite import SqliteStore
from sidecar.errors import Refused
from sidecar.model.registry import CONNECTOR, KINDS, ROLE, SWITCH
from sidecar.ports import RegistryStore
from tests.fakes.clock import HeldClock
from tests.fakes.registry import FakeRegistryStore
from tests.postgres import fresh_tenant, giving, server

CLOCK = HeldClock()
POSTGRES = pytest.param("postgres", marks=pytest.mark.needs_postgres)


class Registry:
    """One registry, opened for a tenant at a time. Tests name tenants; a shared server knows them by other names."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._opened: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def tenant(self, name: str) -> str:
        """What ``name`` is called there."""
        return self._names.setdefault(name, fresh_tenant()) if self._kind == "postgres" else name

    def open(self, name: str) -> RegistryStore:
        if name not in self._opened:
            self._opened[name] = self._open(self.tenant(name))
        store: RegistryStore = self._opened[name]
        return store

    def _open(self, tenant: str) -> RegistryStore:
        if self._kind == "fake":
            return FakeRegistryStore(tenant, CLOCK)
        if self._kind == "sqlite":
            return SqliteStore(self._folder / "registry.db", tenant, CLOCK)
        return PostgresStore(giving(server().url), tenant, CLOCK, 20.0)

    async def close(self) -> None:
        for store in self._opened.values():
            if hasattr(store, "close"):
                await store.close()


@pytest.fixture(params=["fake", "sqlite", POSTGRES])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    made = Registry(request.param, tmp_path)
    yield made
    await made.close()


@pytest.fixture
def store(registry: Registry) -> RegistryStore:
    return registry.open("acme")


async def refused(code: str, work: Any) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.code == code


async def test_there_is_nothing_at_first(store: RegistryStore) -> None:
    assert await store.get(ROLE, "reader") is None
    assert await store.find(ROLE) == []
    assert await store.changes(0, 10) == []


async def test_what_is_written_is_read_back(registry: Registry) -> None:
    store = registry.open("acme")
    document = {"text": "ü\u0000\n'\"", "number": 1.5, "list": [None, True, {"deep": []}], "": {}}
    row = await store.put(ROLE, "reader", document, expected=None, by="ada")
    assert (row.tenant, row.kind, row.id, row.version, row.by, row.at) == (
        registry.tenant("acme"),
        ROLE,
        "reader",
        1,
        "ada",
        CLOCK.now(),
    )
    assert row.document == document
    assert not row.deleted
    assert await store.get(ROLE, "reader") == row
    assert await store.find(ROLE) == [row]
    assert await store.changes(0, 10) == [row]


async def test_an_id_is_unique_for_its_kind(store: RegistryStore) -> None:
    await store.put(ROLE, "x", {"kind": "role"}, expected=None, by="ada")
    await store.put(SWITCH, "x", {"kind": "switch"}, expected=None, by="ada")
    await refused("conflict", store.put(ROLE, "x", {}, expected=None, by="eve"))
    row = await store.get(ROLE, "x")
    assert row is not None
    assert (row.document, row.by) == ({"kind": "role"}, "ada")


async def test_a_row_is_written_over_the_version_its_writer_read(store: RegistryStore) -> None:
    first = await store.put(ROLE, "x", {"n": 1}, expected=None, by="ada")
    second = await store.put(ROLE, "x", {"n": 2}, expected=first.version, by="bob")
    assert (second.version, second.by, second.document) == (2, "bob", {"n": 2})
    for stale in (first.version, 7, 0):
        await refused("conflict", store.put(ROLE, "x", {"n": 3}, expected=stale, by="eve"))
        await refused("conflict", store.remove(ROLE, "x", expected=stale, by="eve"))
    await refused("conflict", store.put(ROLE, "y", {}, expected=1, by="eve"))
    await refused("conflict", store.remove(ROLE, "y", expected=1, by="eve"))
    assert await store.get(ROLE, "x") == second


async def test_a_removed_row_is_gone_but_for_those_who_follow(store: RegistryStore) -> None:
    row = await store.put(ROLE, "x", {"n": 1}, expected=None, by="ada")
    gone = await store.remove(ROLE, "x", expected=1, by="bob")
    assert (gone.version, gone.deleted, gone.by, gone.document) == (2, True, "bob", {"n": 1})
    assert gone.sequence > row.sequence
    assert await store.get(ROLE, "x") is None
    assert await store.find(ROLE) == []
    assert await store.changes(0, 10) == [gone]
    await refused("conflict", store.put(ROLE, "x", {}, expected=2, by="eve"))
    await refused("conflict", store.remove(ROLE, "x", expected=2, by="eve"))


async def test_the_versions_of_an_id_go_on_when_it_is_used_again(store: RegistryStore) -> None:
    """Who holds the version of the first row must not be able to write over the second."""
    await store.put(ROLE, "x", {"n": 1}, expected=None, by="ada")
    await store.remove(ROLE, "x", expected=1, by="ada")
    again = await store.put(ROLE, "x", {"n": 2}, expected=None, by="ada")
    assert (again.version, again.deleted) == (3, False)
    await refused("conflict", store.put(ROLE, "x", {}, expected=1, by="eve"))
    assert await store.get(ROLE, "x") == again


async def test_rows_are_found_by_id_page_by_page(store: RegistryStore) -> None:
    ids = ["Z", "a", "a.b", "a-b", "aa", "b", "z", "é", "\U0001f600", "\uffff"]
    for id in ids:
        await store.put(CONNECTOR, id, {}, expected=None, by="ada")
    await store.put(ROLE, "other", {}, expected=None, by="ada")
    assert [row.id for row in await store.find(CONNECTOR)] == sorted(ids)
    found: list[str] = []
    while page := await store.find(CONNECTOR, after=found[-1] if found else None, limit=3):
        assert len(page) <= 3
        found += [row.id for row in page]
    assert found == sorted(ids)


async def test_changes_come_in_the_order_of_their_writing_and_each_row_once(store: RegistryStore) -> None:
    for id in ("c", "a", "b"):
        await store.put(ROLE, id, {}, expected=None, by="ada")
    await store.put(ROLE, "c", {"n": 2}, expected=1, by="ada")
    await store.remove(ROLE, "a", expected=1, by="ada")
    rows = await store.changes(0, 10)
    assert [(row.id, row.version, row.deleted) for row in rows] == [("b", 1, False), ("c", 2, False), ("a", 2, True)]
    sequences = [row.sequence for row in rows]
    assert sequences == sorted(set(sequences))
    assert await store.changes(sequences[0], 1) == [rows[1]]
    assert await store.changes(sequences[-1], 10) == []


async def test_writers_at_once_get_a_version_each_or_a_conflict(store: RegistryStore) -> None:
    await store.put(ROLE, "x", {"n": 0}, expected=None, by="ada")
    done = await asyncio.gather(
        *(store.put(ROLE, "x", {"n": n}, expected=1, by=f"writer-{n}") for n in range(1, 9)), return_exceptions=True
    )
    written = [each for each in done if not isinstance(each, BaseException)]
    assert len(written) == 1
    assert {each.code for each in done if isinstance(each, Refused)} == {"conflict"}
    assert await store.get(ROLE, "x") == written[0]
    others = await asyncio.gather(*(store.put(ROLE, f"y{n}", {}, expected=None, by="ada") for n in range(8)))
    assert len({row.sequence for row in others}) == 8
    assert min(row.sequence for row in others) > written[0].sequence


async def test_inv_4_a_tenant_sees_and_writes_its_own_rows_only(registry: Registry) -> None:
    acme, umbrella = registry.open("acme"), registry.open("umbrella")
    await acme.put(ROLE, "x", {"of": "acme"}, expected=None, by="ada")
    assert await umbrella.get(ROLE, "x") is None
    assert await umbrella.find(ROLE) == []
    assert await umbrella.changes(0, 10) == []
    await refused("conflict", umbrella.put(ROLE, "x", {}, expected=1, by="eve"))
    await refused("conflict", umbrella.remove(ROLE, "x", expected=1, by="eve"))
    row = await umbrella.put(ROLE, "x", {"of": "umbrella"}, expected=None, by="eve")
    assert (row.tenant, row.version, row.sequence) == (registry.tenant("umbrella"), 1, 1)
    mine = await acme.get(ROLE, "x")
    assert mine is not None
    assert mine.document == {"of": "acme"}


@pytest.mark.parametrize("kind", ["", "secret", "Role"])
async def test_a_kind_that_is_none_is_refused(store: RegistryStore, kind: str) -> None:
    await refused("invalid_payload", store.get(kind, "x"))
    await refused("invalid_payload", store.find(kind))
    await refused("invalid_payload", store.put(kind, "x", {}, expected=None, by="ada"))
    await refused("invalid_payload", store.remove(kind, "x", expected=1, by="ada"))


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_every_kind_is_kept(store: RegistryStore, kind: str) -> None:
    row = await store.put(kind, "x", {}, expected=None, by="ada")
    assert await store.find(kind) == [row]


@pytest.mark.parametrize("id", ["", "x" * 201, "a\0b", "\ud800"])
async def test_an_id_that_cannot_be_kept_is_refused(store: RegistryStore, id: str) -> None:
    await refused("invalid_payload", store.put(ROLE, id, {}, expected=None, by="ada"))
    await refused("invalid_payload", store.remove(ROLE, id, expected=1, by="ada"))
    await refused("invalid_payload", store.get(ROLE, id))
    if id:
        await refused("invalid_payload", store.find(ROLE, after=id))


async def test_a_document_that_is_too_large_is_refused_and_nothing_is_written(store: RegistryStore) -> None:
    await refused("invalid_payload", store.put(ROLE, "x", {"text": "x" * (256 << 10)}, expected=None, by="ada"))
    assert await store.changes(0, 10) == []
    await store.put(ROLE, "x", {"text": "x" * 200_000}, expected=None, by="ada")


async def test_what_looks_like_sql_is_a_value(store: RegistryStore) -> None:
    nasty = "x'; DROP TABLE registry_rows; --"
    row = await store.put(ROLE, nasty, {nasty: nasty}, expected=None, by=nasty)
    assert await store.get(ROLE, nasty) == row
    assert await store.find(ROLE, after="x") == [row]
