"""The first form of the registry: what its tables hold to by themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from sidecar.adapters.registry import migrate
from sidecar.adapters.registry.versions import r0001_rows
from tests.postgres import server

INSERT = "INSERT INTO registry_rows VALUES (?, ?, ?, 1, ?, '{}', 'ada', 1, 0)"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    made.executescript(migrate.steps(migrate.SQLITE, None))
    yield made
    made.close()


def test_it_is_the_first() -> None:
    assert r0001_rows.down_revision is None


def test_an_id_is_unique_for_its_tenant_and_kind(connection: sqlite3.Connection) -> None:
    connection.execute(INSERT, ("acme", "role", "x", 1))
    connection.execute(INSERT, ("acme", "key", "x", 2))
    connection.execute(INSERT, ("umbrella", "role", "x", 1))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(INSERT, ("acme", "role", "x", 3))


def test_no_two_rows_of_a_tenant_have_one_sequence(connection: sqlite3.Connection) -> None:
    connection.execute(INSERT, ("acme", "role", "x", 1))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(INSERT, ("acme", "role", "y", 1))


@pytest.mark.needs_postgres
async def test_inv_4_row_security_is_forced_on_both_tables() -> None:
    found = await server().ask(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relkind = 'r'"
        " AND relname LIKE 'registry_%' ORDER BY relname"
    )
    assert [tuple(row) for row in found] == [
        ("registry_heads", True, True),
        ("registry_rows", True, True),
        ("registry_version", False, False),
    ]
