"""Administrators' changes in a real Vault: other fields, other tools, other versions, and a server that says no."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.clock import SystemClock
from sidecar.adapters.credentials.remote.administration import RemoteCredentials
from sidecar.adapters.credentials.remote.terms import entry
from sidecar.adapters.credentials.vault.session import VaultSession
from sidecar.adapters.credentials.vault.store import VaultStore
from sidecar.errors import Refused, SidecarError, Unavailable
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import DAY
from tests import postgres, toxiproxy, vault
from tests.fakes.observer import RecordingObserver

pytestmark = pytest.mark.needs_vault
VALUE, NEW = Secret("value-12345678"), Secret("rotated-51e09ab3")
CANARY = "canary-77d0c5e1"


class Place:
    """A tenant's secret ``crm`` in a Vault, and its store."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.server, self.tenant, self.folder = vault.server(), vault.fresh_tenant(), folder
        self.login = self.server.approle(self.tenant, folder)
        self.open(**settings)

    def open(self, **settings: Any) -> None:
        section = self.server.section(self.login, **({"paths": ("secret/{tenant}",)} | settings))
        store = VaultStore(section, self.tenant, self.folder, time.monotonic)
        self.store = RemoteCredentials("vault", store, SystemClock(), RecordingObserver(), section.timeout_seconds)

    def beside(self) -> RemoteCredentials:
        """The store of another sidecar of the tenant's."""
        mine = self.store
        self.open()
        self.store, other = mine, self.store
        return other

    def at(self, field: str | None = "token", version: str | None = None, name: str = "crm") -> Reference:
        return Reference("vault", f"secret/{self.tenant}/{name}", field, version)

    def metadata(self) -> dict[str, str]:
        return dict(self._told()["custom_metadata"] or {})

    def entry(self, version: str) -> str:
        """The name of a version's entry, once it is there."""
        return entry(f"{version}-{self._told()['versions'][version]['created_time']}")

    def _told(self) -> Any:
        return self.server.root.secrets.kv.v2.read_secret_metadata(f"{self.tenant}/crm", mount_point="secret")["data"]

    def says(self, **texts: str) -> None:
        """What another tool says of the secret."""
        self.server.root.secrets.kv.v2.update_metadata(
            f"{self.tenant}/crm", custom_metadata=texts, mount_point="secret"
        )

    def restrict(self, rules: str) -> None:
        self.server.root.sys.create_or_update_policy(self.tenant, rules.replace("TENANT", self.tenant))

    async def value(self, field: str = "token", version: str | None = None) -> str:
        return (await self.store.resolve(self.at(field, version))).secret.reveal().decode()

    async def reason(self, work: Any) -> str:
        with pytest.raises(SidecarError) as refused:
            await work
        assert CANARY not in f"{refused.value!r} {refused.value.__cause__!r}"
        return refused.value.reasons[0].code if refused.value.reasons else refused.value.code


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.store.close()


async def test_the_other_fields_and_what_other_tools_say_stay(place: Place) -> None:
    place.server.put(place.tenant, "crm", token="value-12345678", user="somebody", port=5432)
    place.says(owner="crm-team")
    await place.store.store(place.at(), NEW, Terms(rotate_days=7), "1")
    assert await place.value("user") == "somebody"
    assert place.metadata() == {"owner": "crm-team", place.entry("2"): "rotate_days=7"}
    await place.store.amend(place.at(), Terms(), "2")
    assert place.metadata() == {"owner": "crm-team", place.entry("2"): "none"}
    data = place.server.root.secrets.kv.v2.read_secret_version(
        f"{place.tenant}/crm", mount_point="secret", raise_on_deleted_version=True
    )
    assert data["data"]["data"] == {"token": NEW.reveal().decode(), "user": "somebody", "port": 5432}


async def test_a_field_is_added_to_and_taken_out_of_a_secret(place: Place) -> None:
    place.server.put(place.tenant, "crm", user="somebody")
    added = await place.store.store(place.at(), VALUE, Terms(expires=4_102_444_800_000_000), None)
    assert added.version == "2"
    assert await place.value("user") == "somebody"
    with pytest.raises(Refused):
        await place.store.about(place.at("missing"))
    await place.store.delete(place.at(), "2")
    assert await place.reason(place.store.resolve(place.at())) == "no_such_field"
    assert await place.value("user") == "somebody"
    whole = await place.store.about(place.at(None))
    assert (whole.version, whole.expires) == ("3", added.expires)
    await place.store.delete(place.at(None), "3")
    for version in (None, "1", "2", "3"):
        assert await place.reason(place.store.resolve(place.at("user", version))) in (
            "no_such_secret",
            "no_such_version",
        )


async def test_a_value_needs_a_field(place: Place) -> None:
    assert await place.reason(place.store.store(place.at(None), VALUE, Terms(), None)) == "no_field"


async def test_an_older_version_keeps_its_own_end(place: Place) -> None:
    end = time.time_ns() // 1000 + DAY
    await place.store.store(place.at(), VALUE, Terms(expires=end), None)
    await place.store.store(place.at(), NEW, Terms(), "1")
    assert (await place.store.resolve(place.at())).expires is None
    assert (await place.store.resolve(place.at(version="1"))).expires == end


async def test_what_another_tool_writes_keeps_the_kind_and_rotation_and_no_end(place: Place) -> None:
    end = time.time_ns() // 1000 + DAY
    await place.store.store(place.at(), VALUE, Terms(kind="OAUTH", expires=end, rotate_days=7), None)
    place.server.put(place.tenant, "crm", token="other-12345678")
    about = await place.store.about(place.at())
    assert (about.version, about.kind, about.expires, about.rotate_days) == ("2", "OAUTH", None, 7)


async def test_terms_that_cannot_be_read_refuse_the_calls_until_they_are_said_anew(place: Place) -> None:
    place.server.put(place.tenant, "crm", token="value-12345678")
    place.says(**{entry("1"): "expires=next week"})
    assert await place.reason(place.store.resolve(place.at())) == "unusable_terms"
    (row,) = await place.store.list()
    assert (row.state, row.version) == ("broken", "1")
    await place.store.amend(place.at(), Terms(), "1")
    assert await place.value() == "value-12345678"


async def test_who_loses_a_race_says_nothing_of_the_winners_value(place: Place) -> None:
    """The loser's terms for the version that both wanted are there when the winner's value is written."""
    place.server.put(place.tenant, "crm", token="value-12345678")
    place.says(**{entry("2"): "expires=2090-01-01T00:00:00Z"})
    about = await place.store.store(place.at(), NEW, Terms(), "1")
    place.server.root.adapter.request(
        "patch",
        f"/v1/secret/metadata/{place.tenant}/crm",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"custom_metadata": {entry("2"): "expires=2091-01-01T00:00:00Z"}},
    )  # and some come later still
    assert (about.version, about.expires) == ("2", None)
    assert (await place.store.resolve(place.at())).expires is None
    assert (await place.store.about(place.at())).expires is None


async def test_of_many_sidecars_that_write_at_once_one_does_and_its_terms_are_its_own(place: Place) -> None:
    others = [place.beside() for _ in range(4)]
    expected = None
    for turn in range(5):

        async def write(number: int, turn: int = turn, over: str | None = expected) -> int | str:
            value, terms = Secret(f"value-{turn}-{number:04}"), Terms(rotate_days=number + 1)
            try:
                await others[number].store(place.at(), value, terms, over)
            except Refused as refused:
                return refused.code
            return number

        ended = await asyncio.gather(*map(write, range(4)))
        (winner,) = [one for one in ended if isinstance(one, int)]
        assert sorted(map(str, ended))[1:] == ["conflict"] * 3
        place.store.forget(place.at().locator)
        assert await place.value() == f"value-{turn}-{winner:04}"
        about = await place.store.about(place.at())
        assert about.rotate_days == winner + 1
        expected = about.version
    for other in others:
        await other.close()


async def test_old_entries_go_with_their_versions(place: Place) -> None:
    place.server.put(place.tenant, "crm", token="value-12345678")
    place.server.root.secrets.kv.v2.update_metadata(f"{place.tenant}/crm", max_versions=3, mount_point="secret")
    for number in range(1, 9):
        await place.store.store(place.at(), Secret(f"value-{number:08}"), Terms(rotate_days=number), str(number))
    assert {name.split("-")[2] for name in place.metadata()} <= {"6", "7", "8", "9"}
    assert place.metadata()[place.entry("9")] == "rotate_days=8"


async def test_folders_are_listed_to_their_ends(place: Place) -> None:
    for name in ("crm", "billing/a", "billing/deep/b"):
        place.server.put(place.tenant, name, token="value-12345678")
    rows = await place.store.list()
    assert [row.reference.locator.removeprefix(f"secret/{place.tenant}/") for row in rows] == [
        "billing/a",
        "billing/deep/b",
        "crm",
    ]
    assert {row.reference.field for row in rows} == {None}


READS = 'path "secret/data/TENANT/*" { capabilities = ["read"] }\n'
SAYS_NOTHING = """
path "secret/data/TENANT/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/TENANT/*" { capabilities = ["read"] }
path "secret/subkeys/TENANT/*" { capabilities = ["read"] }
"""
WRITES_NOTHING = """
path "secret/data/TENANT/*" { capabilities = ["read"] }
path "secret/metadata/TENANT/*" { capabilities = ["create", "read", "update", "patch", "list"] }
path "secret/subkeys/TENANT/*" { capabilities = ["read"] }
"""


@pytest.mark.parametrize("rules", [READS, SAYS_NOTHING, WRITES_NOTHING])
async def test_a_vault_that_forbids_part_of_a_change_leaves_the_old_value_with_its_own_terms(
    place: Place, rules: str
) -> None:
    end = time.time_ns() // 1000 + DAY
    await place.store.store(place.at(), VALUE, Terms(kind="API_KEY", expires=end), None)
    place.restrict(rules)
    change = place.store.store(place.at(), Secret(CANARY), Terms(kind="API_KEY", rotate_days=1), "1")
    with pytest.raises(Unavailable) as refused:
        await change
    assert (refused.value.code, refused.value.reasons[0].code) == ("store_unavailable", "store_forbidden")
    found = await place.store.resolve(place.at())
    assert (found.secret, found.version, found.expires) == (VALUE, "1", end)
    place.server.policy(place.tenant)
    about = await place.store.about(place.at())
    assert (about.version, about.expires, about.rotate_days) == ("1", end, None)


async def test_a_sealed_vault_changes_nothing_and_says_so(place: Place) -> None:
    await place.store.store(place.at(), VALUE, Terms(), None)
    place.server.seal()
    try:
        for work in (
            place.store.list(),
            place.store.about(place.at()),
            place.store.store(place.at(), NEW, Terms(), "1"),
            place.store.amend(place.at(), Terms(rotate_days=1), "1"),
            place.store.delete(place.at(), "1"),
        ):
            assert await place.reason(work) == "store_sealed"
    finally:
        place.server.unseal()
    assert await place.value() == "value-12345678"


@pytest.mark.needs_toxiproxy
@pytest.mark.parametrize("lost", ["requests", "answers"])
async def test_a_change_that_is_cut_at_any_exchange_is_whole_or_not_at_all(
    tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    await place.store.close()
    with toxiproxy.server().between(place.server.port) as between:
        place.open(address=between.address, timeout_seconds=0.5)
        await place.store.store(place.at(), Secret("value-0000"), Terms(rotate_days=1), None)
        run, failed, at = VaultSession.run, 0, 0
        for step in range(1, 20):
            before = await place.store.about(place.at())
            exchanges = 0

            def cutting(session: VaultSession, *given: Any, step: int = step, **named: Any) -> Any:
                nonlocal exchanges
                exchanges += 1
                if exchanges == step:
                    between.down() if lost == "requests" else between.put(toxiproxy.swallowed())
                return run(session, *given, **named)

            monkeypatch.setattr(VaultSession, "run", cutting)
            try:
                terms = Terms(rotate_days=step + 1)
                await place.store.store(place.at(), Secret(f"value-{step:04}"), terms, before.version)
            except Unavailable as refused:
                failed += 1
                assert refused.reasons[0].code in ("store_unreachable", "store_slow")
            else:
                at = step
            monkeypatch.setattr(VaultSession, "run", run)
            between.up()
            between.clear()
            about = await place.store.about(place.at())
            assert await place.value() == f"value-{(about.rotate_days or 0) - 1:04}"
            if at:
                break
        assert failed >= 4
        await place.store.close()


@pytest.mark.needs_postgres
async def test_database_users_are_shown_and_not_lent_to_be_shown(tmp_path: Path) -> None:
    place = Place(tmp_path, paths=("database/creds/{tenant}-reports", "database/static-creds/{tenant}-fixed"))
    database: Any = place.server.root.secrets.database
    host = postgres.server().owner.partition("host=")[2]
    database.configure(
        name=place.tenant, plugin_name="postgresql-database-plugin", allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={host}",
        username="postgres", password="anything",
    )  # fmt: skip
    create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
    database.create_role(
        name=f"{place.tenant}-reports", db_name=place.tenant, creation_statements=[create], default_ttl="1h"
    )
    try:
        rows = await place.store.list()
        assert [(row.kind, row.version, row.changeable) for row in rows] == [("DATABASE", "lease", False)]
        assert place.server.asked(f"database/creds/{place.tenant}-reports", "read") == 0
        with pytest.raises(Refused, match="each lease") as refused:
            await place.store.store(Reference("vault", rows[0].reference.locator, "password"), NEW, Terms(), "lease")
        assert refused.value.code == "read_only"
    finally:
        await place.store.close()
