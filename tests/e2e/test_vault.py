"""A whole sidecar whose credential is in a real Vault: used, rotated, lost, and nowhere to be found afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import postgres, vault
from tests.between import Between
from tests.e2e.far import Far, Seen, answer
from tests.e2e.house import TENANT, Answer, House, comes_true
from tests.e2e.secure import HOST, everything_written, found
from tests.fakes.certificates import Authority
from tests.fakes.upstream import Conversation

pytestmark = pytest.mark.needs_vault
SECRET = "s3cr/et+va=lue&5b1d80c7e2aa9f64"
AGE = 1.5  # seconds that a value may be used for


class Vaulted(NamedTuple):
    """A sidecar that runs, its upstream, the network before its Vault, and the secret's name there."""

    house: House
    far: Far
    between: Between
    name: str

    def call(self) -> Answer:
        return self.house.operation("write")

    def sent(self) -> str:
        return self.far.seen[-1].headers["authorization"]


def configure(house: House, port: int, ca_file: Path, address: str, reference: str) -> None:
    """``up`` takes a bearer token from the Vault at ``address``."""
    server = vault.server()
    login = server.approle(TENANT, house.folder)
    up = house.config["connectors"]["up"]
    auth = {"style": "bearer", "credential": "token"}
    up |= {"base_url": f"https://{HOST}:{port}", "ca_file": str(ca_file), "auth": auth}
    house.config["destinations"]["up"] |= {"name": HOST, "addresses": ["127.0.0.1"]}
    house.config["credentials"] = {
        "token": {"reference": reference, "hosts": [f"{HOST}:{port}"], "connectors": ["up"]}
    }
    house.config["vault"] = {
        "address": address,
        "login": {"method": "approle", "role_id": login.role_id, "file": login.file},
        "paths": ["secret/{tenant}", "database/creds/{tenant}-reports"],
        "max_age_seconds": AGE,
        "timeout_seconds": 1,
    }
    house.write_config()


@pytest.fixture
def vaulted(tmp_path: Path) -> Iterator[Vaulted]:
    server, authority, name = vault.server(), Authority(tmp_path), f"crm-{os.urandom(4).hex()}"
    server.put(TENANT, name, token=SECRET)
    (tmp_path / "house").mkdir()
    with Far(authority.server(HOST)) as far, Between(server.port) as between:
        house = House(tmp_path / "house", far.port)
        configure(house, far.port, authority.file, between.address, f"vault://secret/{TENANT}/{name}#token")
        house.start()
        yield Vaulted(house, far, between, name)
        house.kill()


def test_the_upstream_gets_the_vaults_secret_and_nothing_else_has_it(vaulted: Vaulted) -> None:  # C03, A111
    answered = [vaulted.call() for _ in range(3)]
    assert [one.status for one in answered] == [200, 200, 200]
    assert vaulted.sent() == f"Bearer {SECRET}"
    assert vault.server().asked(f"secret/data/{TENANT}/{vaulted.name}", "read") <= 2
    secret_id = (vaulted.house.folder / "secret-id").read_text()
    (vaulted.house.folder / "secret-id").unlink()
    shown = {"metrics": vaulted.house.probe("/metrics").body, "answer": answered[0].body}
    assert vaulted.house.stop() == 0
    written = everything_written(vaulted.house.folder) | shown
    assert found(SECRET, written) == []
    assert not [name for name, data in written.items() if secret_id.encode() in data or b"hvs." in data]
    used = [leaf.credential for leaf in vaulted.house.leaves() if leaf.kind == "outcome"]
    assert {(one.ref, one.version) for one in used if one} == {(f"vault://secret/{TENANT}/{vaulted.name}#token", "1")}


def test_a_rotated_secret_is_used_once_the_old_ones_time_is_over(vaulted: Vaulted) -> None:  # C02
    assert vaulted.call().status == 200
    vault.server().put(TENANT, vaulted.name, token="second-1fc04ab977")
    statuses: set[int] = set()

    def is_new() -> bool:
        statuses.add(vaulted.call().status)
        return vaulted.sent() == "Bearer second-1fc04ab977"

    assert comes_true(is_new)
    assert statuses == {200}


def test_a_rotation_that_the_upstream_knows_before_us_costs_no_call(vaulted: Vaulted) -> None:  # C02, A103
    vaulted.house.config["vault"]["max_age_seconds"] = 3600
    vaulted.house.write_config()
    vaulted.house.reload()
    assert vaulted.call().status == 200
    assert comes_true(lambda: vaulted.house.status()["credentials"][0]["seconds"] < 3598.9)
    vault.server().put(TENANT, vaulted.name, token="second-1fc04ab977")

    async def wants_the_new_one(conversation: Conversation, seen: Seen) -> bool:
        challenge = answer(b"{}", "401 Unauthorized", "WWW-Authenticate: Bearer")
        await conversation.send(answer() if seen.headers["authorization"].endswith("1fc04ab977") else challenge)
        return True

    vaulted.far.behave = wants_the_new_one
    assert {vaulted.call().status for _ in range(10)} == {200}
    assert vaulted.sent() == "Bearer second-1fc04ab977"


def test_c01_a_vault_that_is_cut_off_serves_until_the_secrets_time_is_over_and_then_refuses(
    vaulted: Vaulted,
) -> None:
    assert vaulted.call().status == 200
    vaulted.between.refuses = True
    vaulted.between.cut()
    assert vaulted.call().status == 200
    answers: list[Answer] = []

    def is_refused() -> bool:
        answers.append(vaulted.call())
        return answers[-1].status != 200

    assert comes_true(is_refused)
    assert (answers[-1].status, answers[-1].code) == (502, "credential_unavailable")
    reached = len(vaulted.far.seen)
    assert vaulted.call().code == "credential_unavailable"
    assert len(vaulted.far.seen) == reached
    assert answers[-1].document["reasons"][0]["code"] in ("store_unreachable", "store_slow")
    assert str(vaulted.between.port) not in answers[-1].body.decode()
    record = vaulted.house.evidence(answers[-1].evidence_id).document
    assert record["code"] == "credential_unavailable"
    vaulted.between.refuses = False
    assert comes_true(lambda: vaulted.call().status == 200)
    assert vaulted.house.stop() == 0
    failed = [leaf.credential for leaf in vaulted.house.leaves() if leaf.code == "credential_unavailable"]
    assert {(use.ref, use.version) for use in failed if use} == {
        (f"vault://secret/{TENANT}/{vaulted.name}#token", None)
    }


def test_a_reload_keeps_what_is_held_and_the_end_logs_out(vaulted: Vaulted) -> None:
    assert vaulted.call().status == 200
    logins = vault.server().asked("auth/approle/login")
    logouts = vault.server().asked("auth/token/revoke-self")
    vaulted.house.config["limits"] = {"in_flight": 100}
    vaulted.house.write_config()
    vaulted.house.reload()
    assert vaulted.call().status == 200
    assert vault.server().asked("auth/approle/login") == logins
    (held,) = vaulted.house.status()["credentials"]
    assert (held["place"], held["version"]) == (f"vault://secret/{TENANT}/{vaulted.name}", "1")
    assert 0 < held["seconds"] <= AGE
    assert vaulted.house.stop() == 0
    assert vault.server().asked("auth/token/revoke-self") == logouts + 1


def test_an_end_does_not_wait_for_a_vault_that_does_not_answer(vaulted: Vaulted) -> None:
    assert vaulted.call().status == 200
    vaulted.between.silent = True
    begun = time.monotonic()
    assert vaulted.house.stop() == 0
    assert time.monotonic() - begun < 10


def test_a87_a_line_break_in_a_secret_never_reaches_a_header(vaulted: Vaulted) -> None:
    vault.server().put(TENANT, vaulted.name, token="one-12345678\r\nX-Evil: two-12345678")
    refused = vaulted.call()
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert vaulted.far.seen == []
    assert b"X-Evil" not in refused.body


def test_c06_another_tenants_path_is_not_served(vaulted: Vaulted) -> None:
    vaulted.house.config["credentials"]["token"]["reference"] = "vault://secret/globex/crm#token"
    vaulted.house.write_config()
    done = vaulted.house.sidecar("check")
    assert done.returncode == 1
    assert "other_tenant" in done.stdout


def test_the_command_line_resolves_what_the_configuration_names(vaulted: Vaulted) -> None:
    done = vaulted.house.sidecar("credentials", "test", "token")
    assert done.returncode == 0, done.stderr
    assert "resolves" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.needs_postgres
def test_a_lent_database_user_is_gone_when_the_sidecar_is(vaulted: Vaulted) -> None:
    database: Any = vault.server().root.secrets.database
    host = postgres.server().owner.partition("host=")[2]
    database.configure(
        name=vaulted.name, plugin_name="postgresql-database-plugin", allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={host}",
        username="postgres", password="anything",
    )  # fmt: skip
    create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
    database.create_role(
        name=f"{TENANT}-reports", db_name=vaulted.name, creation_statements=[create], default_ttl="1h", max_ttl="2h"
    )
    reference = f"vault://database/creds/{TENANT}-reports#username"
    vaulted.house.config["credentials"]["token"]["reference"] = reference
    vaulted.house.write_config()
    vaulted.house.reload()
    assert vaulted.call().status == 200
    user = vaulted.sent().removeprefix("Bearer ")
    there = f"SELECT rolname FROM pg_roles WHERE rolname = '{user}'"
    assert postgres.run(postgres.server().ask(there))
    assert vaulted.house.stop() == 0
    assert not postgres.run(postgres.server().ask(there))
