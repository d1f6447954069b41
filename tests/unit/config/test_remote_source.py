from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.config.load import examine
from tests.unit.config.builders import changed, codes, found, written

LOGIN = {"method": "approle", "role_id": "sidecar-acme", "file": "secret-id"}
VAULT = {"address": "https://vault.example:8200", "login": LOGIN}
GOOD = changed("vault", VAULT, changed("credentials.crm-key.reference", "vault://secret/acme/crm#key"))


def wrong(path: str, value: Any, base: dict[str, Any] = GOOD) -> list[tuple[str, str]]:
    return codes(found(changed(path, value, base)))


def test_a_vault_that_fits() -> None:
    faults = found(GOOD)
    assert not faults.errors
    assert not [fault for fault in faults.warnings if "vault" in fault.path or fault.code == "no_vault"]


@pytest.mark.parametrize("scheme", ["vault", "aws"])
def test_a_reference_without_its_section_is_told_what_calls_will_get(scheme: str) -> None:
    faults = found(changed("credentials.crm-key.reference", f"{scheme}://secret/acme/crm#key"))
    assert [(fault.code, fault.path) for fault in faults.warnings if fault.code.startswith("no_")] == [
        (f"no_{scheme}", "credentials.crm-key.reference")
    ]
    assert "credential_unavailable" in str(faults.warnings)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("vault://secret/globex/crm#key", "other_tenant"),
        ("vault://elsewhere/acme/crm#key", "unknown_mount"),
        ("vault://secret/acme/crm@3#key", None),
    ],
)
def test_c06_a_reference_stays_under_the_tenants_paths(reference: str, code: str | None) -> None:
    errors = [name for name, _ in wrong("credentials.crm-key.reference", reference)]
    assert (errors[0] if errors else None) == code


def test_only_kv2_has_versions() -> None:
    base = changed("vault.mounts", {"secret": "kv1"}, GOOD)
    at = "credentials.crm-key.reference"
    assert wrong(at, "vault://secret/acme/crm@3#key", base) == [("no_versions", at)]


def test_c06_aws_names_stay_under_the_tenants() -> None:
    base = changed("aws", {"region": "eu-west-1"})
    at = "credentials.crm-key.reference"
    assert wrong(at, "aws://acme/crm#key", base) == []
    assert wrong(at, "aws://globex/crm#key", base) == [("other_tenant", at)]


@pytest.mark.parametrize(
    ("login", "errors"),
    [
        ({"method": "token", "file": "t"}, []),
        ({"method": "token"}, [("missing_key", "vault.login")]),
        ({"method": "approle", "file": "f"}, [("missing_key", "vault.login")]),
        ({"method": "kubernetes"}, [("missing_key", "vault.login")]),
        ({"method": "kubernetes", "role": "r"}, []),
        ({"method": "jwt", "role": "r"}, [("missing_key", "vault.login")]),
        ({"method": "token", "file": "t", "role": "r"}, [("unused", "vault.login.role")]),
        ({"method": "kubernetes", "role": "r", "role_id": "x"}, [("unused", "vault.login.role_id")]),
    ],
)
def test_a_login_has_what_its_method_needs_and_no_more(login: dict[str, str], errors: list[tuple[str, str]]) -> None:
    assert wrong("vault.login", login) == errors


@pytest.mark.parametrize("address", ["http://vault.example:8200", "http://localhost:8200"])
def test_secrets_never_travel_over_plain_http(address: str) -> None:
    assert wrong("vault.address", address) == [("plain_http", "vault.address")]
    assert wrong("vault.address", "http://127.0.0.1:8200") == []
    base = changed("aws", {"region": "eu-west-1"}, GOOD)
    assert wrong("aws.endpoint", address, base) == [("plain_http", "aws.endpoint")]


def test_a24_what_holds_the_secrets_is_never_a_destination() -> None:
    assert wrong("vault.address", "https://crm.example.com") == [("overlap", "vault.address")]


def test_a_token_in_the_place_of_a_file_is_refused_and_not_repeated() -> None:
    raw = "hvs.CAESIJ1f0q4Zb7Zt9cQm3xLw"
    faults = found(changed("vault.login", {"method": "token", "file": raw}, GOOD))
    assert ("raw_secret", "vault.login.file") in codes(faults)
    assert raw not in str(faults.errors)


def test_a_path_that_other_tenants_share_is_pointed_out() -> None:
    faults = found(changed("vault.paths", ["secret/{tenant}", "database/creds/readonly"], GOOD))
    assert [(fault.code, fault.path) for fault in faults.warnings if fault.code == "shared_path"] == [
        ("shared_path", "vault.paths[1]")
    ]


def test_a_missing_authority_is_an_error_and_a_present_one_is_watched(tmp_path: Path) -> None:
    file = written(tmp_path, changed("vault.ca_file", "ca.pem", GOOD))
    assert ("no_file", "vault.ca_file") in [(fault.code, fault.path) for fault in examine(file, {}, {}).errors]
    (tmp_path / "ca.pem").write_text("")
    examined = examine(file, {}, {})
    assert examined.loaded is not None
    assert tmp_path / "ca.pem" in examined.loaded.watched
