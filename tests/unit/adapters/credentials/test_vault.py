from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote import Loan, StoreFailure
from sidecar.adapters.credentials.vault import VaultStore
from sidecar.config.remotes import VaultLogin, VaultSection
from sidecar.model.credential import Reference
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


def test_only_a_kv2_field_is_written(store: VaultStore) -> None:
    for locator, field in (("kv/acme/crm", "token"), ("secret/acme/crm", None)):
        with pytest.raises(StoreFailure):
            store.put(Reference("vault", locator, field), Secret("value-12345678"), None)
