from __future__ import annotations

import pytest
import requests
from hvac import exceptions

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.vault.errors import understood

CASES = [
    (exceptions.Forbidden("permission denied: canary"), "store_forbidden"),
    (exceptions.InvalidPath(json={"data": "canary"}), "no_such_secret"),
    (exceptions.VaultDown(errors=["Vault is sealed"]), "store_sealed"),
    (exceptions.VaultDown(errors=["standby"]), "store_unreachable"),
    (exceptions.VaultNotInitialized("canary"), "store_sealed"),
    (exceptions.InternalServerError("canary"), "store_failing"),
    (exceptions.RateLimitExceeded("canary"), "store_failing"),
    (exceptions.BadGateway("canary"), "store_failing"),
    (requests.exceptions.SSLError("canary"), "store_untrusted"),
    (requests.exceptions.ReadTimeout("canary"), "store_slow"),
    (requests.exceptions.ConnectTimeout("canary"), "store_slow"),
    (requests.exceptions.ConnectionError("canary"), "store_unreachable"),
    (requests.exceptions.TooManyRedirects("canary"), "store_unreachable"),
    (KeyError("canary"), "store_failing"),
    (TypeError("canary"), "store_failing"),
    (ValueError("canary"), "store_failing"),
]


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda value: type(value).__name__)
def test_every_failure_has_a_reason_and_keeps_none_of_its_words(error: Exception, code: str) -> None:
    with pytest.raises(StoreFailure) as failure, understood():
        raise error
    assert failure.value.code == code
    assert failure.value.__cause__ is None
    assert "canary" not in f"{failure.value} {failure.value!r}"


def test_an_exchange_may_know_better_what_a_failure_means() -> None:
    with pytest.raises(StoreFailure) as failure, understood(InvalidRequest="lease_lost"):
        raise exceptions.InvalidRequest
    assert failure.value.code == "lease_lost"


def test_what_is_understood_already_stays() -> None:
    with pytest.raises(StoreFailure) as failure, understood(StoreFailure="store_failing"):
        raise StoreFailure("no_such_field")
    assert failure.value.code == "no_such_field"


def test_a_mistake_of_ours_is_not_the_stores() -> None:
    with pytest.raises(ZeroDivisionError), understood():
        raise ZeroDivisionError
