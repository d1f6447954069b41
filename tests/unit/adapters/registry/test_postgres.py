"""A shared registry: whom it lets in, what it holds to by itself, and what it does when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from sidecar.adapters.registry import migrate
from sidecar.adapters.registry.postgres import PostgresStore, check_url, upgrade
from sidecar.errors import Misconfigured, Refused, Unavailable
from sidecar.model.registry import ROLE
from sidecar.model.secret import Secret
from tests.fakes.clock import HeldClock
from tests.postgres import fresh_tenant, giving, server

needs_postgres = pytest.mark.needs_postgres


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example/registry?sslmode=verify-full",
        "postgres://u@10.0.0.1:5432/registry?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://u@127.0.0.1:5432/registry",
        "postgresql://u@[::1]/registry",
        "postgresql://u@/registry?host=/run/postgresql",
    ],
)
def test_a_url_that_is_local_or_verifies_the_server_is_right(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@db.example/registry",
        "postgresql://u:hunter2@db.example/registry?sslmode=require",
        "postgresql://u:hunter2@localhost/registry",
        "postgresql://u:hunter2@127.0.0.1,db.example/registry",
        "postgresql://u:hunter2@127.0.0.1/registry?host=db.example",
        "postgresql://u:hunter2@/registry",
        "mysql://u:hunter2@127.0.0.1/registry",
        "postgresql://u:hunter2@[::1/registry",
        "hunter2",
    ],
)
def test_a_url_that_another_machine_could_answer_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


async def told(store: PostgresStore) -> str:
    with pytest.raises(Unavailable) as caught:
        await store.find(ROLE)
    assert caught.value.code == "registry_unavailable"
    await store.close()
    return caught.value.detail


def opened(url: str, tenant: str = "acme", seconds: float = 20.0) -> PostgresStore:
    return PostgresStore(giving(url), tenant, HeldClock(), seconds)


@pytest.fixture
async def store() -> AsyncIterator[PostgresStore]:
    made = opened(server().url, fresh_tenant())
    yield made
    await made.close()


async def test_a_server_that_is_not_there_is_told() -> None:
    assert "cannot be used" in await told(opened("postgresql://u@127.0.0.1:1/registry", seconds=5.0))
    assert "sslmode=verify-full" in await told(opened("postgresql://u:hunter2@db.example/registry"))


async def test_a_url_that_cannot_be_had_is_told() -> None:
    async def fails() -> Secret:
        raise Unavailable("credential_unavailable", "no such credential")

    store = PostgresStore(fails, "acme", HeldClock())
    with pytest.raises(Unavailable, match="registry_unavailable"):
        await store.find(ROLE)


@needs_postgres
async def test_a_role_that_row_security_does_not_hold_is_refused() -> None:
    assert "passes over row security" in await told(opened(server().owner))


@needs_postgres
async def test_inv_4_row_security_holds_a_session_to_its_tenant_whatever_it_asks() -> None:
    mine, theirs = fresh_tenant(), fresh_tenant()
    one, other = opened(server().url, mine), opened(server().url, theirs)
    await one.put(ROLE, "x", {}, expected=None, by="ada")
    await other.put(ROLE, "y", {}, expected=None, by="eve")
    connection = await asyncpg.connect(server().url, server_settings={"sidecar.tenant": mine})
    try:
        assert [row["id"] for row in await connection.fetch("SELECT * FROM registry_rows")] == ["x"]
        await connection.execute("UPDATE registry_rows SET document = '{\"n\":1}'")
        assert (await connection.fetchval("SELECT count(*) FROM registry_heads")) == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE registry_rows SET tenant = $1", theirs)
    finally:
        await connection.close()
    for each in (one, other):
        await each.close()


@needs_postgres
async def test_a_session_without_a_tenant_sees_nothing() -> None:
    one = opened(server().url, fresh_tenant())
    await one.put(ROLE, "x", {}, expected=None, by="ada")
    await one.close()
    connection = await asyncpg.connect(server().url)
    try:
        assert await connection.fetch("SELECT * FROM registry_rows") == []
    finally:
        await connection.close()


@needs_postgres
async def test_sequences_become_visible_in_their_order() -> None:
    """Were a later one visible first, who follows would pass the earlier one over for ever."""
    tenant = fresh_tenant()
    store = opened(server().url, tenant)
    await store.put(ROLE, "x", {}, expected=None, by="ada")
    slow = await asyncpg.connect(server().url, server_settings={"sidecar.tenant": tenant})
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute("UPDATE registry_heads SET sequence = sequence + 1 WHERE tenant = $1", tenant)
        waiting = asyncio.create_task(store.put(ROLE, "y", {}, expected=None, by="bob"))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done  # it waits for the one that is under way
        await transaction.commit()
        assert (await waiting).sequence == 3
    finally:
        await slow.close()
    await store.close()


@needs_postgres
async def test_a_lock_that_somebody_holds_is_waited_for_within_the_bound_and_nothing_is_half_written() -> None:
    tenant = fresh_tenant()
    store = opened(server().url, tenant, 1.5)
    await store.put(ROLE, "x", {"n": 1}, expected=None, by="ada")
    holder = await asyncpg.connect(server().url, server_settings={"sidecar.tenant": tenant})
    try:
        async with holder.transaction():
            await holder.execute("SELECT * FROM registry_heads WHERE tenant = $1 FOR UPDATE", tenant)
            with pytest.raises(Unavailable, match=r"within 1\.5 seconds"):
                await store.put(ROLE, "x", {"n": 2}, expected=1, by="bob")
            row = await store.get(ROLE, "x")  # over a new connection
            assert row is not None and row.document == {"n": 1}
    finally:
        await holder.close()
    assert (await store.put(ROLE, "x", {"n": 3}, expected=1, by="ada")).document == {"n": 3}
    await store.close()


@needs_postgres
async def test_a_connection_that_was_ended_is_made_anew(store: PostgresStore) -> None:
    await store.put(ROLE, "x", {}, expected=None, by="ada")
    await server().ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'sidecar' AND application_name = 'sidecar'"
    )
    with suppress(Unavailable):  # it may be seen only when it is used
        await store.get(ROLE, "x")
    assert await store.get(ROLE, "x") is not None


@needs_postgres
async def test_a_refused_write_leaves_no_trace_not_even_a_sequence(store: PostgresStore) -> None:
    await store.put(ROLE, "x", {}, expected=None, by="ada")
    for _ in range(3):
        with pytest.raises(Refused):
            await store.put(ROLE, "x", {}, expected=None, by="eve")
    assert (await store.put(ROLE, "y", {}, expected=None, by="ada")).sequence == 2


@needs_postgres
async def test_a_database_without_tables_says_what_to_run_and_migrating_makes_them() -> None:
    name = fresh_tenant().replace("-", "_")
    await server().ask(f"CREATE DATABASE {name}")
    owner = server().owner.replace("/postgres?", f"/{name}?")
    url = server().url.replace("/postgres?", f"/{name}?")
    assert "sidecar migrate" in await told(opened(url))
    done = await asyncio.gather(upgrade(Secret(owner)), upgrade(Secret(owner)))
    assert sorted(done, key=str) == [("0001", "0001"), (None, "0001")]  # two at once: one after the other
    connection = await asyncpg.connect(owner)
    try:
        await connection.execute("GRANT SELECT, INSERT, UPDATE ON registry_rows, registry_heads TO sidecar")
        await connection.execute("GRANT SELECT ON registry_version TO sidecar")
        store = opened(url)
        await store.put(ROLE, "x", {}, expected=None, by="ada")
        await store.close()
        await connection.execute("UPDATE registry_version SET version_num = '9999'")
    finally:
        await connection.close()
    assert "9999" in await told(opened(url))
    with pytest.raises(Misconfigured, match="9999"):
        await upgrade(Secret(owner))
    assert migrate.HEAD == "0001"


@needs_postgres
async def test_a_closed_store_answers_nothing(store: PostgresStore) -> None:
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.find(ROLE)
