from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.credentials.aws.store import SecretsManager, _which
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.terms import entry, written
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import Reference, Terms
from tests.fakes.spoken import said, saying

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


VERSION = "12345678-90ab-cdef-1234-567890abcdef"
ENDED = 1_700_000_000_000_000  # microseconds since the epoch


def answers() -> dict[str, bytes]:
    terms = {"Key": entry(VERSION), "Value": written(Terms(expires=ENDED))}
    value = {"Name": "acme/crm", "VersionId": VERSION, "SecretString": '{"token": "value-12345678"}'}
    return {
        "GetSecretValue": said(value),
        "DescribeSecret": said(
            {"Name": "acme/crm", "VersionIdsToStages": {VERSION: ["AWSCURRENT"]}, "Tags": [terms]}
        ),
    }


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AwsSection, dict[str, bytes]]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "not-a-real-key")
    given = answers()
    with saying(given, lambda _, headers: headers["X-Amz-Target"].partition(".")[2]) as address:
        yield AwsSection(region="eu-west-1", endpoint=address), given


@pytest.mark.parametrize("cut", ["GetSecretValue", "DescribeSecret"])
def test_an_answer_that_stops_anywhere_is_an_outage_and_ends_no_terms(
    tmp_path: Path, cloud: tuple[AwsSection, dict[str, bytes]], cut: str
) -> None:
    section, given = cloud
    store = SecretsManager(section, "acme", tmp_path)
    reference = Reference("aws", "acme/crm", "token")
    assert store.fetch(reference).expires == ENDED
    whole = given[cut]
    for at in range(0, len(whole), 7):
        given[cut] = whole[:at]
        with pytest.raises(StoreFailure) as failure:
            store.fetch(reference)
        assert failure.value.is_outage, at
    store.close()


@pytest.mark.parametrize("document", [{}, {"message": "try again"}, {"Name": None}])
def test_an_answer_that_describes_nothing_takes_no_end_away(
    tmp_path: Path, cloud: tuple[AwsSection, dict[str, bytes]], document: dict[str, object]
) -> None:
    section, given = cloud
    store = SecretsManager(section, "acme", tmp_path)
    given["DescribeSecret"] = said(document)
    with pytest.raises(StoreFailure) as failure:
        store.fetch(Reference("aws", "acme/crm", "token"))
    assert failure.value.code == "store_failing"
    store.close()
