"""One file, only its owner's, written whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.registry.sqlite import SqliteStore
from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import ROLE
from tests.fakes.clock import HeldClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path, "acme", HeldClock())
    yield made
    await made.close()


async def unavailable(store: SqliteStore) -> str:
    with pytest.raises(Unavailable) as caught:
        await store.find(ROLE)
    assert caught.value.code == "registry_unavailable"
    return caught.value.detail


def written(path: Path, content: bytes, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def moved(path: Path, to: Path) -> None:
    path.replace(to)


def held(path: Path) -> bytes:
    return path.read_bytes()


def plain(path: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found


async def test_every_file_is_only_its_owners_whatever_the_umask(store: SqliteStore, path: Path) -> None:
    before = os.umask(0)
    try:
        await store.put(ROLE, "x", {}, expected=None, by="ada")
    finally:
        os.umask(before)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["registry.db", "registry.db-shm", "registry.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_file_that_others_may_read_is_not_opened(store: SqliteStore, path: Path) -> None:
    written(path, b"", 0o640)
    assert "chmod 600" in await unavailable(store)
    written(path, b"", 0o600)
    assert await store.find(ROLE) == []


async def test_what_was_written_is_there_for_the_next_process(store: SqliteStore, path: Path) -> None:
    row = await store.put(ROLE, "x", {"n": 1}, expected=None, by="ada")
    await store.close()
    again = SqliteStore(path, "acme", HeldClock())
    assert await again.get(ROLE, "x") == row
    await again.close()


async def test_a_write_is_synced_before_it_is_acknowledged(store: SqliteStore) -> None:
    await store.find(ROLE)
    settings = await store._worker.run(
        lambda: [
            store._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "busy_timeout")
            if store._connection
        ]
    )
    assert settings == ["wal", 2, 2000]


async def test_a_refused_write_leaves_no_trace_not_even_a_sequence(store: SqliteStore, path: Path) -> None:
    await store.put(ROLE, "x", {}, expected=None, by="ada")
    for _ in range(3):
        with pytest.raises(Refused):
            await store.put(ROLE, "x", {}, expected=None, by="eve")
    assert plain(path, "SELECT sequence FROM registry_heads") == [(1,)]
    assert (await store.put(ROLE, "y", {}, expected=None, by="ada")).sequence == 2


async def test_a_file_that_is_no_registry_is_told_and_left_as_it_is(store: SqliteStore, path: Path) -> None:
    content = b"not a database, and long enough to have a header of one" * 40
    written(path, content, 0o600)
    assert "SQLITE_NOTADB" in await unavailable(store)
    assert held(path) == content
    written(path, b"", 0o600)
    assert await store.find(ROLE) == []  # mended, it is used again


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gone" / "registry.db", "acme", HeldClock())
    assert "No such file" in await unavailable(store)
    await store.close()


async def test_a_file_that_was_taken_away_or_replaced_under_us_is_told(store: SqliteStore, path: Path) -> None:
    """Its writes would be gone with the process, and with them a kill switch."""
    row = await store.put(ROLE, "x", {}, expected=None, by="ada")
    away = path.with_name("away.db")
    moved(path, away)
    assert "removed or replaced" in await unavailable(store)
    with pytest.raises(Unavailable):
        await store.put(ROLE, "y", {}, expected=None, by="ada")
    written(path, b"", 0o600)
    assert "removed or replaced" in await unavailable(store)
    moved(away, path)
    assert await store.find(ROLE) == [row]


async def test_a_form_of_a_newer_version_is_told_and_left_as_it_is(store: SqliteStore, path: Path) -> None:
    await store.find(ROLE)
    await store.close()
    plain(path, "UPDATE registry_version SET version_num = '9999'")
    newer = SqliteStore(path, "acme", HeldClock())
    assert "9999" in await unavailable(newer)
    assert plain(path, "SELECT version_num FROM registry_version") == [("9999",)]
    await newer.close()


async def test_two_processes_may_begin_at_once_and_write_in_turn(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path, "acme", HeldClock())
    first = await store.put(ROLE, "x", {}, expected=None, by="ada")
    second = await other.put(ROLE, "y", {}, expected=None, by="bob")
    assert (first.sequence, second.sequence) == (1, 2)
    assert [row.id for row in await store.find(ROLE)] == ["x", "y"]
    await other.close()


async def test_inv_4_a_row_of_another_tenant_is_refused_even_where_the_file_was_changed(
    store: SqliteStore, path: Path
) -> None:
    await store.put(ROLE, "x", {}, expected=None, by="ada")
    plain(path, "UPDATE registry_rows SET tenant = 'umbrella'")
    assert await store.get(ROLE, "x") is None
    assert await store.changes(0, 10) == []


async def test_a_damaged_row_is_told_by_its_name_only(store: SqliteStore, path: Path) -> None:
    await store.put(ROLE, "x", {"s": "secret-ish"}, expected=None, by="ada")
    plain(path, 'UPDATE registry_rows SET document = \'{"s": "secret-ish\'')
    detail = await unavailable(store)
    assert "'x'" in detail
    assert "secret-ish" not in detail


async def test_a_writer_that_holds_the_file_is_waited_for_within_the_bound(path: Path) -> None:
    store = SqliteStore(path, "acme", HeldClock(), seconds=0.2)
    await SqliteStore(path, "acme", HeldClock()).find(ROLE)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert await store.find(ROLE) == []  # readers go on
        with pytest.raises(Unavailable):
            await store.put(ROLE, "x", {}, expected=None, by="ada")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    await store.close()


@pytest.mark.parametrize(
    "edit",
    [
        "SET id = x'ff'",
        "SET kind = x'00'",
        "SET written_by = x'00'",
        "SET written_at = 'late'",
        "SET version = 1e999",
        "SET document = x'ff'",
        "SET document = '{\"deep\": ' || replace(hex(zeroblob(50000)), '0', '[')",
        "SET document = '[]'",
    ],
)
async def test_a_row_that_somebody_edited_is_told_and_not_believed(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "registry.db"
    store = SqliteStore(path, "acme", HeldClock())
    await store.put("connector", "wiki", {}, expected=None, by="ada")
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE registry_rows {edit}")
    connection.close()
    with pytest.raises(Unavailable, match="The registry"):
        await store.changes(0, 10)
    await store.close()
