"""Database users that a real Vault lends out of a real PostgreSQL: issued, renewed, replaced, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.cached import GRACE_SECONDS, REFUSED_SECONDS
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from tests import postgres, toxiproxy, vault
from tests.e2e.house import comes_true
from tests.integration.vault_sources import Tenant
from tests.toxiproxy import Between, swallowed

pytestmark = [pytest.mark.needs_vault, pytest.mark.needs_postgres]
HOUR = 3600
_CREATE = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"


class Lending(Tenant):
    """A tenant whose Vault lends users of the database, for an hour that can become two."""

    def __init__(self, folder: Path, ttl: str = "1h", login: str = "approle", **settings: Any) -> None:
        super().__init__(folder, login, **settings)
        database: Any = self.server.root.secrets.database
        host = postgres.server().owner.partition("host=")[2]
        database.configure(
            name=self.name, plugin_name="postgresql-database-plugin", allowed_roles=["*"],
            connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={host}",
            username="postgres", password="anything",
        )  # fmt: skip
        self.role = f"{self.name}-reports"
        database.create_role(
            name=self.role, db_name=self.name, creation_statements=[_CREATE], default_ttl=ttl, max_ttl="2h"
        )
        self.open(self.section.login, paths=(f"database/creds/{self.role}", f"database/static-creds/{self.role}"))

    def part(self, field: str) -> Reference:
        return Reference("vault", f"database/creds/{self.role}", field)

    async def user(self) -> tuple[str, Credential]:
        credential = await self.source.resolve(self.part("username"))
        return credential.secret.reveal().decode(), credential

    def issued(self) -> int:
        """How many users the server was asked for."""
        return self.server.asked(f"database/creds/{self.role}", "read")

    def lease(self) -> str:
        found = self.server.root.sys.list_leases(f"database/creds/{self.role}")
        (name,) = found["data"]["keys"]
        return f"database/creds/{self.role}/{name}"


async def exists(user: str) -> bool:
    rows = await postgres.server().ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'")
    return bool(rows)


async def test_user_and_password_are_of_one_lease_and_work(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    name, credential = await tenant.user()
    password = await tenant.source.resolve(tenant.part("password"))
    assert await exists(name)
    assert credential.version == password.version
    assert credential.version.startswith("lease-")
    assert password.secret != Secret(name)
    assert tenant.issued() == 1
    await tenant.source.close()


async def test_a_thousand_first_uses_at_once_borrow_one_user(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    found = await asyncio.gather(*(tenant.user() for _ in range(1000)))
    assert len({name for name, _ in found}) == 1
    assert tenant.issued() == 1
    await tenant.source.close()


@pytest.mark.parametrize("login", ["approle", "token"])
async def test_what_was_lent_is_taken_back_at_the_end(tmp_path: Path, login: str) -> None:
    tenant = Lending(tmp_path, login=login)
    name, _ = await tenant.user()
    assert await exists(name)
    await tenant.source.close()
    assert not await exists(name)
    assert tenant.observer.named("credential")[-1]["outcome"] == "given_back"


async def test_a_lease_that_is_used_is_renewed_at_two_thirds(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    name, _ = await tenant.user()
    tenant.clock.advance(HOUR * 2 / 3 - 1)
    await tenant.source.tend()
    assert tenant.observer.named("credential")[-1]["outcome"] == "fetched"
    tenant.clock.advance(2)
    await tenant.source.tend()
    assert tenant.observer.named("credential")[-1]["outcome"] == "renewed"
    tenant.clock.advance(HOUR / 2)
    assert (await tenant.user())[0] == name  # an hour and more after it was lent
    assert tenant.issued() == 1
    await tenant.source.close()


async def test_a_lease_that_nobody_uses_is_given_back(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    name, _ = await tenant.user()
    for _ in range(2):  # renewed once, and not used since
        tenant.clock.advance(HOUR * 2 / 3 + 1)
        await tenant.source.tend()
    tenant.clock.advance(GRACE_SECONDS + 1)
    await tenant.source.tend()
    assert not await exists(name)
    await tenant.source.close()


async def test_a_lease_that_was_revoked_under_us_is_replaced_at_the_next_look(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    old, _ = await tenant.user()
    tenant.server.root.sys.revoke_lease(tenant.lease())
    tenant.clock.advance(HOUR * 2 / 3 + 1)
    await tenant.source.tend()
    new, _ = await tenant.user()
    assert new != old
    assert await exists(new)
    await tenant.source.close()


async def test_a_user_that_the_database_refuses_is_replaced_at_once(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    old, credential = await tenant.user()
    tenant.server.root.sys.revoke_lease(tenant.lease())
    tenant.clock.advance(11)
    fresh = await asyncio.gather(
        *(tenant.source.refresh(tenant.part("username"), credential.version) for _ in range(100))
    )
    assert len({one.version for one in fresh}) == 1
    assert fresh[0].version != credential.version
    assert (await tenant.user())[0] != old
    assert tenant.issued() == 2
    await tenant.source.close()


async def test_a_new_login_brings_a_new_user_while_the_old_one_still_works(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    tenant.server.approle(tenant.name, tmp_path, token_type="batch")  # such a token cannot be renewed
    old, _ = await tenant.user()
    tenant.clock.advance(HOUR * 2 / 3 + 1)
    await tenant.source.tend()
    new, _ = await tenant.user()
    assert new != old
    assert await exists(old)  # a call may be using it
    tenant.clock.advance(GRACE_SECONDS + 1)
    await tenant.source.tend()
    assert not await exists(old)
    await tenant.source.close()
    assert not await exists(new)


async def test_the_user_whose_password_the_server_rotates(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    name = tenant.name.replace("-", "_")
    await postgres.server().ask(f"CREATE ROLE {name} LOGIN")
    tenant.server.root.secrets.database.delete_role(tenant.role)
    tenant.server.root.secrets.database.create_static_role(
        name=tenant.role, db_name=tenant.name, username=name, rotation_period="24h",
        rotation_statements=["ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}'"],
    )  # fmt: skip
    password = Reference("vault", f"database/static-creds/{tenant.role}", "password")
    first = await tenant.source.resolve(password)
    tenant.server.root.secrets.database.rotate_static_role_credentials(tenant.role)
    tenant.clock.advance(tenant.section.max_age_seconds)
    second = await tenant.source.resolve(password)
    assert first.secret != second.secret
    assert first.version != second.version
    await tenant.source.close()


async def test_a_role_that_is_not_there(tmp_path: Path) -> None:
    tenant = Lending(tmp_path)
    tenant.server.root.secrets.database.delete_role(tenant.role)
    assert await tenant.reason(tenant.part("username")) == "no_such_secret"
    await tenant.source.close()


@pytest.fixture
def between() -> Iterator[Between]:
    with toxiproxy.server().between(vault.server().port) as made:
        yield made


def behind(folder: Path, between: Between, ttl: str = "1h") -> Lending:
    """A tenant whose Vault is behind a network."""
    tenant = Lending(folder, ttl)
    tenant.open(tenant.section.login, paths=tenant.section.paths, address=between.address, timeout_seconds=0.5)
    return tenant


@pytest.mark.needs_toxiproxy
async def test_c01_a_partition_at_renewal_leaves_the_user_to_the_end_of_its_lease(
    tmp_path: Path, between: Between
) -> None:
    tenant = behind(tmp_path, between)
    name, _ = await tenant.user()
    between.put(swallowed("upstream"))
    tenant.clock.advance(HOUR * 2 / 3 + 1)
    await tenant.source.tend()
    assert tenant.observer.named("credential")[-1]["outcome"] == "store_slow"
    assert (await tenant.user())[0] == name
    tenant.clock.advance(HOUR / 3 - 2)
    await tenant.source.tend()
    assert (await tenant.user())[0] == name  # its last second
    tenant.clock.advance(1)
    for _ in range(3):
        assert await tenant.reason(tenant.part("username")) == "store_slow"
    between.clear()
    tenant.clock.advance(REFUSED_SECONDS)
    fresh, _ = await tenant.user()
    assert fresh != name
    assert await exists(fresh)
    tenant.clock.advance(GRACE_SECONDS + 1)
    await tenant.source.tend()
    assert not await exists(name)  # given back at last, where it still was one
    await tenant.source.close()
    assert not await exists(fresh)


@pytest.mark.needs_toxiproxy
async def test_c01_a_partition_at_the_end_is_told_and_the_user_ends_with_its_lease(
    tmp_path: Path, between: Between
) -> None:
    tenant = behind(tmp_path, between, ttl="3s")
    name, _ = await tenant.user()
    between.put(swallowed("upstream"))
    await tenant.source.close()  # bounded: it returns
    assert tenant.observer.named("credential")[-1] == {"outcome": "not_given_back", "scheme": "vault"}
    assert await asyncio.to_thread(comes_true, lambda: not postgres.run(exists(name)))


@pytest.mark.needs_toxiproxy
async def test_c01_a_partition_while_a_user_is_lent_gives_nobody_half_of_one(
    tmp_path: Path, between: Between
) -> None:
    tenant = behind(tmp_path, between)
    await tenant.user()  # logged in
    tenant.server.root.sys.revoke_lease(tenant.lease())
    tenant.clock.advance(2 * HOUR)
    between.put(swallowed())  # the server lends one, and nobody hears of it
    assert await tenant.reason(tenant.part("username")) == "store_slow"
    assert await tenant.reason(tenant.part("password")) == "store_slow"
    between.clear()
    tenant.clock.advance(REFUSED_SECONDS)
    name, credential = await tenant.user()
    assert (await tenant.source.resolve(tenant.part("password"))).version == credential.version
    await tenant.source.close()
    assert not await exists(name)
