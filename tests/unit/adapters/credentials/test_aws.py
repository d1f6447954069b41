from __future__ import annotations

from pathlib import Path

import pytest
from botocore import exceptions

from sidecar.adapters.credentials.aws import SecretsManager, _fields, _understood, _which
from sidecar.adapters.credentials.remote import StoreFailure
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import Reference
from sidecar.model.secret import Secret

NOWHERE = AwsSection(region="eu-west-1", endpoint="http://127.0.0.1:1", timeout_seconds=1)


def client_error(code: str) -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": "canary"}}, "GetSecretValue")


CASES = [
    (client_error("ResourceNotFoundException"), "no_such_secret"),
    (client_error("AccessDeniedException"), "store_forbidden"),
    (client_error("ExpiredTokenException"), "store_login_refused"),
    (client_error("ThrottlingException"), "store_failing"),
    (client_error("DecryptionFailure"), "store_failing"),
    (exceptions.NoCredentialsError(), "store_login_refused"),
    (exceptions.SSLError(endpoint_url="u", error="canary"), "store_untrusted"),
    (exceptions.ReadTimeoutError(endpoint_url="u"), "store_slow"),
    (exceptions.ConnectTimeoutError(endpoint_url="u"), "store_slow"),
    (exceptions.EndpointConnectionError(endpoint_url="u"), "store_unreachable"),
    (exceptions.ParamValidationError(report="canary"), "store_failing"),
    (KeyError("canary"), "store_failing"),
]


@pytest.mark.parametrize(("error", "code"), CASES)
def test_every_failure_has_a_reason_and_keeps_none_of_its_words(error: Exception, code: str) -> None:
    with pytest.raises(StoreFailure) as failure, _understood("no_such_secret"):
        raise error
    assert failure.value.code == code
    assert failure.value.__cause__ is None
    assert "canary" not in repr(failure.value)


def test_a_mistake_of_ours_is_not_the_stores() -> None:
    with pytest.raises(ZeroDivisionError), _understood("no_such_secret"):
        raise ZeroDivisionError


def test_what_a_reference_names() -> None:
    assert _which(None) == {"VersionStage": "AWSCURRENT"}
    assert _which("AWSPREVIOUS") == {"VersionStage": "AWSPREVIOUS"}
    identifier = "12345678-90ab-cdef-1234-567890abcdef"
    assert _which(identifier) == {"VersionId": identifier}


def test_an_object_has_fields_and_any_other_text_is_one_value() -> None:
    assert _fields('{"token": "value-12345678", "port": 5432}') == {"token": Secret("value-12345678")}
    for text in ("value-12345678", "[1, 2]", '"quoted"', "12345678"):
        assert _fields(text) == {"": Secret(text)}


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
