from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote import Loan, StoreFailure
from sidecar.adapters.credentials.vault import VaultStore
from sidecar.config.remotes import VaultLogin, VaultSection
from sidecar.errors import Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests.fakes.clock import HeldClock

SECTION = VaultSection(
    address="http://127.0.0.1:1",
    login=VaultLogin(method="token", file="token"),
    mounts={"secret": "kv2", "kv": "kv1", "database": "database", "team/kv": "kv2"},
    paths=("secret/{tenant}", "kv/{tenant}", "database/creds/{tenant}-reports", "unmounted/{tenant}"),
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
    ("locator", "said"),
    [
        ("kv/acme/crm", "vault kv put"),
        ("database/creds/acme-reports", "vault write database/roles/ROLE"),
    ],
)
def test_what_others_change_is_refused_with_how_they_do_before_anything_is_asked(
    store: VaultStore, locator: str, said: str
) -> None:
    reference = Reference("vault", locator, "password")
    for change in (
        lambda: store.write(reference, Secret("value-12345678"), Terms(), None),
        lambda: store.amend(reference, Terms(), "1"),
        lambda: store.delete(reference, "1"),
    ):
        with pytest.raises(Refused, match=said) as refused:
            change()
        assert refused.value.code == "read_only"
