from __future__ import annotations

import msgspec
import pytest

from sidecar.config.remotes import AwsSection, VaultLogin, VaultSection

LOGIN = VaultLogin(method="kubernetes", role="sidecar")


def vault(**more: object) -> VaultSection:
    return msgspec.convert(
        {"address": "https://vault.example", "login": {"method": "token", "file": "t"}} | more, VaultSection
    )


def test_paths_hold_whole_segments_and_the_tenant_takes_its_place() -> None:
    section = vault(paths=["secret/{tenant}", "database/creds/{tenant}-reports", "shared/banner"])
    for allowed in ("secret/acme", "secret/acme/crm/key", "database/creds/acme-reports", "shared/banner/text"):
        assert section.allows(allowed, "acme"), allowed
    for refused in ("secret/acme-2/crm", "secret/globex/crm", "database/creds/acme-reports-2", "shared", "secret"):
        assert not section.allows(refused, "acme"), refused


def test_by_default_a_tenant_has_its_own_paths_only() -> None:
    assert vault().allows("secret/acme/crm", "acme")
    assert not vault().allows("secret/globex/crm", "acme")
    assert not vault().allows("database/creds/readonly", "acme")
    assert AwsSection(region="eu-west-1").allows("acme/crm", "acme")
    assert not AwsSection(region="eu-west-1").allows("crm", "acme")


def test_a_tenant_is_told_where_its_own_begins() -> None:
    section = vault(paths=["secret/{tenant}", "database/creds/{tenant}-reports", "shared/banner"])
    assert section.roots("acme") == ["secret/acme", "database/creds/acme-reports", "shared/banner"]
    assert AwsSection(region="eu-west-1", names=("{tenant}", "shared")).roots("acme") == ["acme", "shared"]


def test_the_longest_mount_counts() -> None:
    section = vault(mounts={"team": "kv1", "team/kv": "kv2"})
    assert section.mount_of("team/kv/acme/crm") == "team/kv"
    assert section.mount_of("team/other") == "team"
    assert section.mount_of("teamwork/kv") is None


def test_the_pods_own_token_is_the_default_proof() -> None:
    assert LOGIN.proof_file.startswith("/var/run/secrets/")
    assert LOGIN.mounted_at == "kubernetes"
    assert not LOGIN.is_private
    assert VaultLogin(method="jwt", role="r", file="f", mount="oidc").mounted_at == "oidc"


@pytest.mark.parametrize("wrong", [{"timeout_seconds": 0}, {"max_age_seconds": 1e9}, {"paths": []}, {"token": "x"}])
def test_what_has_no_bound_or_no_place_cannot_be_written(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        vault(**wrong)
