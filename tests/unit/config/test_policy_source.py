"""One source of decisions, and a server that nobody in between can play."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.config.load import examine
from tests.unit.config.builders import changed, codes, found, warned, written

SOCKET: Final = {"url": "unix:///run/opa/opa.sock"}
SECURE: Final = {"url": "https://opa.example:8181"}
RAW: Final = "Zx9Qw3Er7Ty1Ui5Op2As8Df4Gh6Jk0Lz"


def serving(server: dict[str, Any]) -> dict[str, Any]:
    return changed("policy", {"server": server})


@pytest.mark.parametrize(
    "server",
    [
        SOCKET,
        SECURE,
        {"url": "http://127.0.0.1:8181"},
        {"url": "http://[::1]:8181/"},
        {**SECURE, "ca_file": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"},
        {**SOCKET, "token": "encrypted://opa"},
    ],
)
def test_a_server_that_is_reached_safely_is_accepted(server: dict[str, Any]) -> None:
    assert codes(found(serving(server))) == []


@pytest.mark.parametrize(
    ("server", "error"),
    [
        ({"url": "http://opa.example:8181"}, ("plain_http", "policy.server.url")),
        ({"url": "http://localhost:8181"}, ("plain_http", "policy.server.url")),
        ({"url": "http://10.0.0.1:8181"}, ("plain_http", "policy.server.url")),
        ({"url": "https://OPA.example"}, ("wrong_value", "policy.server.url")),
        ({**SOCKET, "ca_file": "ca.pem"}, ("unused", "policy.server.ca_file")),
        ({**SECURE, "client_cert": "cert.pem"}, ("missing_key", "policy.server")),
        ({**SECURE, "client_key": "key.pem"}, ("missing_key", "policy.server")),
        ({**SOCKET, "token": "env://OPA_TOKEN"}, ("environment_refused", "policy.server.token")),
        ({**SOCKET, "token": f"encrypted://{RAW.lower()}"}, ("raw_secret", "policy.server.token")),
    ],
)
def test_a_server_that_could_be_anothers_is_refused(server: dict[str, Any], error: tuple[str, str]) -> None:
    assert codes(found(serving(server))) == [error]


@pytest.mark.parametrize(
    "url", ["ftp://opa", "unix://relative.sock", "https://opa/v1", "https://user@opa", "opa:8181"]
)
def test_an_address_of_another_form_is_refused(url: str, tmp_path: Path) -> None:
    errors = examine(written(tmp_path, serving({"url": url})), {}, {}).errors
    assert [fault.path for fault in errors] == ["policy.server.url"]


def test_a_raw_token_is_refused_unseen(tmp_path: Path) -> None:
    errors = examine(written(tmp_path, serving({**SOCKET, "token": RAW})), {}, {}).errors
    assert [fault.path for fault in errors] == ["policy.server.token"]
    assert RAW not in repr(errors)


def test_either_the_folder_or_the_server_decides() -> None:
    both = changed("policy", {"server": SOCKET, "directory": "elsewhere"})
    assert codes(found(both)) == [("two_policies", "policy.directory")]
    assert codes(found(changed("policy.directory", "elsewhere"))) == []


def test_a_token_in_a_vault_that_is_not_there_is_a_warning() -> None:
    assert ("no_vault", "policy.server.token") in warned(found(serving({**SOCKET, "token": "vault://opa#token"})))
