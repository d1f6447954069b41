"""A credential that is an OAuth client's: what its grant may say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.oauth import token_endpoints
from sidecar.config.sections import Config
from tests.unit.config.builders import changed, codes, found, warned

AT = "credentials.crm-key.oauth"
GRANT: dict[str, Any] = {"token_url": "https://login.example.com/token", "client_id": "sidecar"}
GOOD = changed(AT, GRANT)


def test_a_grant_that_is_right() -> None:
    assert (
        found(changed(AT, GRANT | {"scopes": ["read", "a:b/c"], "audience": "x", "authentication": "body"})).errors
        == []
    )


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("token_url", "https://user:pass@login.example.com/token", "wrong_value"),
        ("token_url", "https://Login.example.com/token", "wrong_value"),
        ("scopes", ["a b"], "wrong_value"),
        ("scopes", ['a"b'], "wrong_value"),
        ("client_id", "a\nb", "wrong_value"),
        ("audience", "ü", "wrong_value"),
        ("audience", "Zx9Qw3Er7Ty1Ui5Op2As8Df4Gh6Jk0Lz", "raw_secret"),
    ],
)
def test_what_could_not_be_asked_for_is_an_error(field: str, value: Any, code: str) -> None:
    faults = codes(found(changed(f"{AT}.{field}", value, GOOD)))
    assert any(path.startswith(f"{AT}.{field}") for _, path in faults), faults
    assert code in {one for one, _ in faults}


@pytest.mark.parametrize("position", ["basic", "query", "body", "certificate"])
def test_a_token_goes_into_a_header_only(position: str) -> None:
    document = changed("credentials.crm-key.positions", ["bearer", position], GOOD)
    assert codes(found(document)) == [("position_refused", "credentials.crm-key.positions[1]")]


def test_a_token_endpoint_may_be_granted_like_a_connectors_host() -> None:
    grant = {"name": "login.example.com", "port": 443, "networks": ["10.0.0.0/8"]}
    assert warned(found(changed("destinations", {"login": grant}, GOOD))) == []
    assert token_endpoints(msgspec.convert(GOOD, Config)) == {("login.example.com", 443)}
