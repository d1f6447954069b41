from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sidecar.adapters.credentials.remote.store import Loan, StoreFailure
from sidecar.adapters.credentials.remote.terms import entry, written
from sidecar.adapters.credentials.vault.store import VaultStore
from sidecar.config.remotes import VaultLogin, VaultSection
from sidecar.errors import Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests.fakes.clock import HeldClock
from tests.fakes.spoken import said, saying

SECTION = VaultSection(
    address="http://127.0.0.1:1",
    login=VaultLogin(method="token", file="token"),
    mounts={"secret": "kv2", "kv": "kv1", "database": "database", "team/kv": "kv2"},
    paths=(
        *("secret/{tenant}", "kv/{tenant}", "unmounted/{tenant}"),
        *("database/creds/{tenant}-reports", "database/static-creds/{tenant}-fixed"),
    ),
)


@pytest.fixture
def store(tmp_path: Path) -> VaultStore:
    return VaultStore(SECTION, "acme", tmp_path, HeldClock().monotonic)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        (Reference("vault", "secret/globex/crm", "token"), "other_tenant"),
        (Reference("vault", "secret/acme-2/crm", "token"), "other_tenant"),
        (Reference("aws", "secret/acme/crm", "token"), "other_tenant"),
        (Reference("vault", "unmounted/acme/crm", "token"), "no_such_secret"),
        (Reference("vault", "kv/acme/crm", "token", "3"), "no_such_version"),
        (Reference("vault", "database/creds/acme-reports", "username", "3"), "no_such_version"),
        (Reference("vault", "database/creds/acme-reports-2", "username"), "other_tenant"),
        (Reference("vault", "secret/acme/crm", "token"), "store_login_refused"),  # this one is asked for
    ],
)
def test_inv_4_c06_what_may_not_be_named_is_refused_without_a_login(
    store: VaultStore, reference: Reference, code: str
) -> None:
    with pytest.raises(StoreFailure) as failure:
        store.fetch(reference)
    assert failure.value.code == code


def test_a_loan_of_another_login_is_to_be_replaced(store: VaultStore) -> None:
    assert store.renew(Loan("database/creds/acme-reports/x", 7)) == 0.0


@pytest.mark.parametrize("locator", ["secret/globex/crm", "secret/acme-2/crm", "kv/globex/crm"])
def test_inv_4_c06_what_may_not_be_named_is_not_changed_either(store: VaultStore, locator: str) -> None:
    reference = Reference("vault", locator, "token")
    for change in (
        lambda: store.about(reference),
        lambda: store.write(reference, Secret("value-12345678"), Terms(), None),
        lambda: store.amend(reference, Terms(), "1"),
        lambda: store.delete(reference, "1"),
    ):
        with pytest.raises(StoreFailure) as failure:
            change()
        assert failure.value.code == "other_tenant"


@pytest.mark.parametrize(
    ("locator", "told"),
    [
        ("kv/acme/crm", "vault kv put"),
        ("database/creds/acme-reports", "vault write database/roles/ROLE"),
    ],
)
def test_what_others_change_is_refused_with_how_they_do_before_anything_is_asked(
    store: VaultStore, locator: str, told: str
) -> None:
    reference = Reference("vault", locator, "password")
    for change in (
        lambda: store.write(reference, Secret("value-12345678"), Terms(), None),
        lambda: store.amend(reference, Terms(), "1"),
        lambda: store.delete(reference, "1"),
    ):
        with pytest.raises(Refused, match=told) as refused:
            change()
        assert refused.value.code == "read_only"


LOOKUP, KV2, LENT = "/v1/auth/token/lookup-self", "/v1/secret/data/acme/crm", "/v1/database/creds/acme-reports"
RENEWED = "/v1/sys/leases/renew"
ENDED = 1_700_000_000_000_000  # microseconds since the epoch


def answers() -> dict[str, bytes]:
    terms = {entry("3"): written(Terms(expires=ENDED))}
    metadata = {"version": 3, "created_time": "2027-01-01T00:00:00.987654321Z", "custom_metadata": terms}
    user = {"username": "v-acme-12345678", "password": "value-12345678"}
    lease = {"lease_id": "database/creds/acme-reports/abc", "lease_duration": 3600, "renewable": True}
    return {
        LOOKUP: said({"data": {"ttl": 3600, "renewable": True}}),
        KV2: said({"data": {"data": {"token": "value-12345678"}, "metadata": metadata}}),
        LENT: said({**lease, "data": user}),
        RENEWED: said(lease),
    }


@pytest.mark.parametrize("cut", [LOOKUP, KV2, LENT, RENEWED])
def test_an_answer_that_stops_anywhere_is_an_outage_and_ends_no_terms_and_no_lease(tmp_path: Path, cut: str) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("hvs.not-a-real-token")
    given, loan = answers(), Loan("database/creds/acme-reports/abc", 1)
    whole = given[cut]

    def everything(address: str) -> tuple[int | None, Loan | None, float]:
        store = VaultStore(msgspec.structs.replace(SECTION, address=address), "acme", tmp_path, HeldClock().monotonic)
        kept = store.fetch(Reference("vault", "secret/acme/crm", "token"))
        lent = store.fetch(Reference("vault", "database/creds/acme-reports", "username"))
        return kept.expires, lent.loan, store.renew(loan)

    with saying(given, lambda path, _: path) as address:
        assert everything(address) == (ENDED, loan, 3600.0)
        for at in range(0, len(whole), 7):
            given[cut] = whole[:at]
            with pytest.raises(StoreFailure) as failure:
                everything(address)
            assert failure.value.is_outage, (at, failure.value.code)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -1, "soon", None, True])
@pytest.mark.parametrize("garbled", [LOOKUP, LENT, RENEWED])
def test_c01_a_lease_whose_time_is_no_time_is_a_failure_and_not_for_ever(
    tmp_path: Path, garbled: str, time: object
) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("hvs.not-a-real-token")
    given = answers()
    document = json.loads(given[garbled].partition(b"\r\n\r\n")[2])
    if garbled == LOOKUP:
        document["data"]["ttl"] = time
    else:
        document["lease_duration"] = time
    given[garbled] = said(document)
    with saying(given, lambda path, _: path) as address:
        store = VaultStore(msgspec.structs.replace(SECTION, address=address), "acme", tmp_path, HeldClock().monotonic)
        with pytest.raises(StoreFailure) as failure:
            lent = store.fetch(Reference("vault", "database/creds/acme-reports", "username"))
            assert lent.loan is not None
            store.renew(lent.loan)
        assert failure.value.code == "store_failing"


def test_c02_a_password_whose_rotation_is_due_serves_until_it_comes(tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("hvs.not-a-real-token")
    data = {"username": "acme", "password": "value-12345678", "last_vault_rotation": "2027-01-01T00:00:00Z", "ttl": 0}
    given = answers() | {"/v1/database/static-creds/acme-fixed": said({"data": data})}
    with saying(given, lambda path, _: path) as address:
        store = VaultStore(msgspec.structs.replace(SECTION, address=address), "acme", tmp_path, HeldClock().monotonic)
        fetched = store.fetch(Reference("vault", "database/static-creds/acme-fixed", "password"))
    assert (fetched.fields["password"], fetched.seconds) == (Secret("value-12345678"), 1.0)
