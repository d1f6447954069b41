"""What every registry store promises: versions, one sequence, the tenant's own rows only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.registry.sqlite import SqliteStore
from sidecar.errors import Refused
from sidecar.model.registry import CONNECTOR, KINDS, ROLE, SWITCH
from sidecar.ports import RegistryStore
from tests.fakes.clock import HeldClock
from tests.fakes.registry import FakeRegistryStore

Open = Callable[[str], RegistryStore]
CLOCK = HeldClock()


@pytest.fixture(params=["fake", "sqlite"])
async def open_(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the same registry for a tenant."""
    opened: dict[str, Any] = {}

    def make(tenant: str) -> RegistryStore:
        if tenant not in opened:
            opened[tenant] = (
                FakeRegistryStore(tenant, CLOCK)
                if request.param == "fake"
                else SqliteStore(tmp_path / "registry.db", tenant, CLOCK)
            )
        store: RegistryStore = opened[tenant]
        return store

    yield make
    for store in opened.values():
        if hasattr(store, "close"):
            await store.close()


@pytest.fixture
def store(open_: Open) -> RegistryStore:
    return open_("acme")


async def refused(code: str, work: Any) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.code == code


async def test_there_is_nothing_at_first(store: RegistryStore) -> None:
    assert await store.get(ROLE, "reader") is None
    assert await store.find(ROLE) == []
    assert await store.changes(0, 10) == []


async def test_what_is_written_is_read_back(store: RegistryStore) -> None:
    document = {"text": "ü\u0000\n'\"", "number": 1.5, "list": [None, True, {"deep": []}], "": {}}
    row = await store.put(ROLE, "reader", document, expected=None, by="ada")
    assert (row.tenant, row.kind, row.id, row.version, row.by, row.at) == (
        "acme",
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


async def test_inv_4_a_tenant_sees_and_writes_its_own_rows_only(open_: Open) -> None:
    acme, umbrella = open_("acme"), open_("umbrella")
    await acme.put(ROLE, "x", {"of": "acme"}, expected=None, by="ada")
    assert await umbrella.get(ROLE, "x") is None
    assert await umbrella.find(ROLE) == []
    assert await umbrella.changes(0, 10) == []
    await refused("conflict", umbrella.put(ROLE, "x", {}, expected=1, by="eve"))
    await refused("conflict", umbrella.remove(ROLE, "x", expected=1, by="eve"))
    row = await umbrella.put(ROLE, "x", {"of": "umbrella"}, expected=None, by="eve")
    assert (row.tenant, row.version, row.sequence) == ("umbrella", 1, 1)
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


@pytest.mark.parametrize("id", ["", "x" * 201, "a\0b"])
async def test_an_id_that_cannot_be_kept_is_refused(store: RegistryStore, id: str) -> None:
    await refused("invalid_payload", store.put(ROLE, id, {}, expected=None, by="ada"))


async def test_a_document_that_is_too_large_is_refused_and_nothing_is_written(store: RegistryStore) -> None:
    await refused("invalid_payload", store.put(ROLE, "x", {"text": "x" * (256 << 10)}, expected=None, by="ada"))
    assert await store.changes(0, 10) == []
    await store.put(ROLE, "x", {"text": "x" * 200_000}, expected=None, by="ada")


async def test_what_looks_like_sql_is_a_value(store: RegistryStore) -> None:
    nasty = "x'; DROP TABLE registry_rows; --"
    row = await store.put(ROLE, nasty, {nasty: nasty}, expected=None, by=nasty)
    assert await store.get(ROLE, nasty) == row
    assert await store.find(ROLE, after="x") == [row]
