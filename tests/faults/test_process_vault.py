"""A whole sidecar whose Vault or AWS answers, and says no: each with its reason, and nothing old is used instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import vault
from tests.e2e.far import Seen, answer
from tests.e2e.house import ROOT, TENANT, Answer, comes_true
from tests.e2e.secure import everything_written, found
from tests.e2e.stores import AGE, BOTH, SECRET, Stored, is_user, lends, stored
from tests.fakes.upstream import Conversation
from tests.toxiproxy import swallowed

VAULT = [pytest.mark.needs_vault, pytest.mark.needs_toxiproxy]
OTHER = "second-1fc04ab977"


@pytest.fixture(scope="module")
def vaulted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with stored("vault", tmp_path_factory.mktemp("vault")) as made:
        yield made


@pytest.fixture(scope="module", params=BOTH)
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with stored(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


def check_refused(it: Stored, refused: Answer, reason: str) -> None:
    """Code, reason and evidence; no secret in anything that was written or answered, and no place of the store's."""
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert [one["code"] for one in refused.document["reasons"]] == [reason]
    record = it.house.evidence(refused.evidence_id).document
    assert record["code"] == "credential_unavailable"
    shown = {
        "answer": refused.body,
        "metrics": it.house.probe("/metrics").body,
        **everything_written(it.house.folder),
    }
    assert found(SECRET, shown) == []
    assert not [name for name, data in shown.items() if b"hvs." in data]
    for inner in (it.reference().partition("://")[2].partition("#")[0], str(it.store.port)):
        assert inner.encode() not in refused.body


def refusal(it: Stored) -> Answer:
    """The first call that is not allowed any more."""
    answers: list[Answer] = []

    def is_refused() -> bool:
        answers.append(it.call())
        return answers[-1].status != 200

    assert comes_true(is_refused)
    return answers[-1]


def recovers(it: Stored) -> bool:
    return comes_true(lambda: it.call().status == 200)


@pytest.mark.parametrize("held", [False, True], ids=["never asked for", "held"])
@pytest.mark.needs_vault
@pytest.mark.needs_toxiproxy
def test_c01_a_sealed_vault(vaulted: Stored, held: bool) -> None:
    vaulted.another()
    if held:
        assert vaulted.call().status == 200
    vault.server().seal()
    try:
        check_refused(vaulted, refusal(vaulted), "store_sealed")
        reached = len(vaulted.far.seen)
        check_refused(vaulted, vaulted.call(), "store_sealed")
        assert len(vaulted.far.seen) == reached
    finally:
        vault.server().unseal()
    assert recovers(vaulted)


@pytest.mark.needs_vault
@pytest.mark.needs_toxiproxy
def test_c01_a_vault_that_forbids_it(vaulted: Stored) -> None:
    vaulted.another()
    server = vault.server()
    server.root.sys.create_or_update_policy(TENANT, 'path "secret/data/none" { capabilities = ["read"] }')
    try:
        check_refused(vaulted, vaulted.call(), "store_forbidden")
    finally:
        server.policy(TENANT)
    assert recovers(vaulted)


@pytest.mark.needs_vault
@pytest.mark.needs_toxiproxy
def test_c01_a_login_that_the_vault_refuses(tmp_path: Path) -> None:
    with stored("vault", tmp_path) as it:
        file = it.house.folder / "secret-id"
        good = file.read_text()
        file.write_text("0f4b7a52-not-it")
        check_refused(it, it.call(), "store_login_refused")
        file.chmod(0o644)
        file.write_text(good)
        check_refused(it, refusal(it), "store_login_refused")
        file.chmod(0o600)
        assert recovers(it)
        file.unlink()
        assert not [name for name, data in everything_written(it.house.folder).items() if good.encode() in data]


def test_c01_a_secret_that_is_not_there(either: Stored) -> None:
    either.refer(either.store.reference("crm-nobody-wrote"))
    check_refused(either, either.call(), "no_such_secret")
    either.another()
    assert either.call().status == 200


def test_a103_a_secret_that_was_deleted_while_it_was_held(either: Stored) -> None:
    name = either.another()
    assert either.call().status == 200
    either.store.delete(name)
    check_refused(either, refusal(either), "no_such_secret")
    reached = len(either.far.seen)
    assert either.call().code == "credential_unavailable"
    assert len(either.far.seen) == reached


@pytest.mark.parametrize(("part", "reason"), [("version", "no_such_version"), ("field", "no_such_field")])
def test_c01_a_version_or_a_field_that_is_not_there(either: Stored, part: str, reason: str) -> None:
    reference = either.store.reference(either.another())
    version = "@7#" if reference.startswith("vault") else "@AWSNEVER#"
    wrong = {"version": reference.replace("#", version), "field": f"{reference}s"}
    either.refer(wrong[part])
    check_refused(either, either.call(), reason)
    either.refer(reference)
    assert either.call().status == 200


def test_c06_a_reference_of_another_tenant(either: Stored) -> None:
    """It is no configuration: the one that was good goes on, and no sidecar starts with it."""
    either.another()
    good = either.reference()
    either.refer(either.store.reference("crm").replace(TENANT, "globex"))
    assert either.house.events("reload")[-1]["outcome"] == "failed"
    assert recovers(either)
    assert either.sent() == f"Bearer {SECRET}"
    done = either.house.sidecar("run")
    assert done.returncode == 1
    assert "it may be another tenant's" in done.stderr
    either.refer(good)
    assert recovers(either)


@pytest.mark.parametrize("value", [f"{OTHER}\r\nX-Evil: two", f"{OTHER}\nX-Evil: two", f"{OTHER}\0two"])
def test_a87_a_line_break_in_a_secret(either: Stored, value: str) -> None:
    reached = len(either.far.seen)
    either.another(value)
    refused = either.call()
    check_refused(either, refused, "unsendable")
    assert OTHER.encode() not in refused.body
    assert len(either.far.seen) == reached
    either.another()
    assert either.call().status == 200


async def knows_users(conversation: Conversation, seen: Seen) -> bool:
    """The database knows a user no more that was revoked."""
    user = seen.headers["authorization"].removeprefix("Bearer ")
    good = await asyncio.to_thread(is_user, user)
    await conversation.send(answer() if good else answer(b"{}", "401 Unauthorized", "WWW-Authenticate: Bearer"))
    return True


@pytest.mark.needs_vault
@pytest.mark.needs_toxiproxy
@pytest.mark.needs_postgres
def test_a103_a_lease_that_is_revoked_under_us_is_replaced_when_it_is_to_be_renewed(
    vaulted: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, statuses = vaulted, set[int]()
    it.refer(lends(it.name, ttl="6s"))
    monkeypatch.setattr(it.far, "behave", knows_users)
    assert it.call().status == 200
    user = it.sent().removeprefix("Bearer ")
    vault.server().root.sys.revoke_prefix(f"database/creds/{TENANT}-reports")
    assert not is_user(user)

    def is_replaced() -> bool:
        statuses.add(it.call().status)
        return it.sent() != f"Bearer {user}"

    assert comes_true(is_replaced)
    assert statuses <= {200, 401}  # the upstream's own, until the renewal found that the lease is gone
    assert it.call().status == 200
    assert is_user(it.sent().removeprefix("Bearer "))
    used = [leaf.credential for leaf in it.house.leaves() if leaf.kind == "outcome" and leaf.credential]
    assert len({one.version for one in used if one.ref == it.reference()}) == 2
    assert "lease_lost" in {line["outcome"] for line in it.house.events("credential")}


@pytest.mark.needs_vault
@pytest.mark.needs_toxiproxy
@pytest.mark.needs_postgres
def test_c01_an_end_while_the_vault_is_partitioned_tells_of_the_user_who_ends_with_its_lease(tmp_path: Path) -> None:
    with stored("vault", tmp_path) as it:
        it.refer(lends(it.name, ttl="6s"))
        assert it.call().status == 200
        user = it.sent().removeprefix("Bearer ")
        assert is_user(user)
        it.between.put(swallowed("upstream"))
        assert it.house.stop() == 0
        assert "not_given_back" in {line["outcome"] for line in it.house.events("credential")}
        assert comes_true(lambda: not is_user(user))
        assert it.house.verified().unknown == []


CLOCK = """
import time

_real, _real_ns = time.time, time.time_ns


def _skew():
    with open({file!r}) as file:
        return int(file.read())


time.time = lambda: _real() + _skew()
time.time_ns = lambda: _real_ns() + _skew() * 10**9
"""
YEAR = 365 * 86_400


@pytest.mark.parametrize("skew", [-YEAR, YEAR], ids=["a year behind", "a year ahead"])
@pytest.mark.parametrize("kind", BOTH)
def test_l05_a_clock_that_jumps_neither_ends_nor_lengthens_what_is_held(tmp_path: Path, kind: str, skew: int) -> None:
    """The process's wall clock is set; leases are measured by the one that nobody can set."""
    (tmp_path / "shim").mkdir()
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "shim" / "sitecustomize.py").write_text(CLOCK.format(file=str(clock)))
    with stored(kind, tmp_path) as it:
        it.house.config[kind]["max_age_seconds"] = 3600
        it.house.write_config()
        assert it.house.stop() == 0
        it.house.start(["env", f"PYTHONPATH={tmp_path / 'shim'}:{ROOT}"])
        assert it.call().status == 200
        (tmp_path / "set").write_text(str(skew))
        (tmp_path / "set").rename(clock)
        before = len(it.far.seen)
        it.between.down()
        shown = it.call()
        assert shown.status == 200  # held: a year ahead did not end it
        if skew > 0:
            assert it.house.evidence(shown.evidence_id).document["time"] > (time.time() + YEAR / 2) * 1e6
        else:
            assert it.house.event("evidence_clock_back")["microseconds"] > YEAR / 2 * 1e6
        it.between.up()
        it.house.config[kind]["max_age_seconds"] = AGE
        it.house.write_config()
        it.house.reload()
        assert recovers(it)
        it.store.put(it.name, OTHER)
        assert comes_true(lambda: it.call().status == 200 and it.sent() == f"Bearer {OTHER}")  # a year behind neither
        assert len(it.far.seen) > before
        it.between.down()
        check_refused(it, refusal(it), "store_unreachable")
