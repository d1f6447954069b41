from __future__ import annotations

import pytest
from botocore import exceptions

from sidecar.adapters.credentials.aws.errors import understood
from sidecar.adapters.credentials.remote.store import StoreFailure


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
    with pytest.raises(StoreFailure) as failure, understood("no_such_secret"):
        raise error
    assert failure.value.code == code
    assert failure.value.__cause__ is None
    assert "canary" not in repr(failure.value)


def test_a_mistake_of_ours_is_not_the_stores() -> None:
    with pytest.raises(ZeroDivisionError), understood("no_such_secret"):
        raise ZeroDivisionError


def test_an_answer_may_mean_something_else_to_who_asked() -> None:
    refused = client_error("InvalidParameterException")
    with (
        pytest.raises(StoreFailure) as failure,
        understood("no_such_secret", InvalidParameterException="other_tenant"),
    ):
        raise refused
    assert failure.value.code == "other_tenant"
