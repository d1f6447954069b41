"""A whole sidecar whose credential is in a real Vault: used, rotated, lost, and nowhere to be found afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import vault
from tests.e2e.far import Seen, answer
from tests.e2e.house import TENANT, comes_true
from tests.e2e.secure import everything_written, found
from tests.e2e.stores import AGE, SECRET, Stored, is_user, lends, stored
from tests.fakes.upstream import Conversation
from tests.toxiproxy import swallowed

pytestmark = [pytest.mark.needs_vault, pytest.mark.needs_toxiproxy]


@pytest.fixture
def vaulted(tmp_path: Path) -> Iterator[Stored]:
    with stored("vault", tmp_path) as made:
        yield made


def test_the_upstream_gets_the_vaults_secret_and_nothing_else_has_it(vaulted: Stored) -> None:  # C03, A111
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


def test_a_rotated_secret_is_used_once_the_old_ones_time_is_over(vaulted: Stored) -> None:  # C02
    assert vaulted.call().status == 200
    vault.server().put(TENANT, vaulted.name, token="second-1fc04ab977")
    statuses: set[int] = set()

    def is_new() -> bool:
        statuses.add(vaulted.call().status)
        return vaulted.sent() == "Bearer second-1fc04ab977"

    assert comes_true(is_new)
    assert statuses == {200}


def test_a_rotation_that_the_upstream_knows_before_us_costs_no_call(vaulted: Stored) -> None:  # C02, A103
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


def test_a_reload_keeps_what_is_held_and_the_end_logs_out(vaulted: Stored) -> None:
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


def test_an_end_does_not_wait_for_a_vault_that_does_not_answer(vaulted: Stored) -> None:
    assert vaulted.call().status == 200
    vaulted.between.put(swallowed())
    begun = time.monotonic()
    assert vaulted.house.stop() == 0
    assert time.monotonic() - begun < 10


def test_a87_a_line_break_in_a_secret_never_reaches_a_header(vaulted: Stored) -> None:
    vault.server().put(TENANT, vaulted.name, token="one-12345678\r\nX-Evil: two-12345678")
    refused = vaulted.call()
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert vaulted.far.seen == []
    assert b"X-Evil" not in refused.body


def test_c06_another_tenants_path_is_not_served(vaulted: Stored) -> None:
    vaulted.house.config["credentials"]["token"]["reference"] = "vault://secret/globex/crm#token"
    vaulted.house.write_config()
    done = vaulted.house.sidecar("check")
    assert done.returncode == 1
    assert "other_tenant" in done.stdout


def test_the_command_line_resolves_what_the_configuration_names(vaulted: Stored) -> None:
    done = vaulted.house.sidecar("credentials", "test", "token")
    assert done.returncode == 0, done.stderr
    assert "resolves" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.needs_postgres
def test_a_lent_database_user_is_gone_when_the_sidecar_is(vaulted: Stored) -> None:
    vaulted.refer(lends(vaulted.name))
    assert vaulted.call().status == 200
    user = vaulted.sent().removeprefix("Bearer ")
    assert is_user(user)
    assert vaulted.house.stop() == 0
    assert not is_user(user)
