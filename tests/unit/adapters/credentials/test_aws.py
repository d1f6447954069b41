from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.aws import SecretsManager, _which
from sidecar.adapters.credentials.remote import StoreFailure
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import Reference

NOWHERE = AwsSection(region="eu-west-1", endpoint="http://127.0.0.1:1", timeout_seconds=1)


def test_what_a_reference_names() -> None:
    assert _which(None) == {"VersionStage": "AWSCURRENT"}
    assert _which("AWSPREVIOUS") == {"VersionStage": "AWSPREVIOUS"}
    identifier = "12345678-90ab-cdef-1234-567890abcdef"
    assert _which(identifier) == {"VersionId": identifier}


@pytest.mark.parametrize("reference", [Reference("aws", "globex/crm"), Reference("vault", "acme/crm", "token")])
def test_c06_another_tenants_secret_is_refused_before_anything_is_asked(tmp_path: Path, reference: Reference) -> None:
    store = SecretsManager(NOWHERE, "acme", tmp_path)
    with pytest.raises(StoreFailure) as failure:
        store.fetch(reference)
    assert failure.value.code == "other_tenant"
    store.close()


def test_an_endpoint_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    store = SecretsManager(NOWHERE, "acme", tmp_path)
    with pytest.raises(StoreFailure) as failure:
        store.fetch(Reference("aws", "acme/crm"))
    assert failure.value.code == "store_unreachable"
    store.close()
