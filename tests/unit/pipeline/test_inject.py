"""The credential goes in last, over whatever stood there, at its one position (A83, A85, A87, A97)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import Credential
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.inject import Injected, check_binding, inject
from sidecar.rules.catalogue import Connector, compile_catalogue
from tests.fakes.parts import CONFIG, changed

ACCEPT = (b"accept", b"*/*")


def connector(config: dict[str, Any] = CONFIG, auth: dict[str, str] | None = None) -> Connector:
    if auth:
        config = changed("connectors.crm.auth", {"credential": "crm"} | auth, config)
    return compile_catalogue(msgspec.convert(config, Config)).connectors["crm"]


def injected(secret: bytes, headers: list[tuple[bytes, bytes]], target: str = "/x", **auth: str) -> Injected:
    request = Outbound("GET", target, headers, b"")
    return inject(request, connector(CONFIG, auth), Credential(Secret(secret), "1"))


def test_bearer() -> None:
    made = injected(b"token", [ACCEPT], style="bearer")
    assert made.request.headers == [ACCEPT, (b"authorization", b"Bearer token")]
    assert [secret.reveal() for secret in made.secrets] == [b"token"]


@pytest.mark.parametrize("user", ["", "user", "us:er", "ü"])
def test_basic_and_its_pair_is_a_secret_too(user: str) -> None:
    made = injected(b"pass:word", [ACCEPT], style="basic", username=user)
    name, value = made.request.headers[-1]
    assert name == b"authorization"
    assert base64.b64decode(value.removeprefix(b"Basic ")) == user.encode() + b":pass:word"
    assert {secret.reveal() for secret in made.secrets} == {b"pass:word", user.encode() + b":pass:word"}


def test_header_under_its_lower_case_name() -> None:
    assert injected(b"token", [ACCEPT], style="header", name="X-Api-Key").request.headers == [
        ACCEPT,
        (b"x-api-key", b"token"),
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/x", "/x?key=a%26b%3D%2Fc%20d"),
        ("/x?q=1", "/x?q=1&key=a%26b%3D%2Fc%20d"),
        ("/x?key=mine", "/x?key=a%26b%3D%2Fc%20d"),
        ("/x?key=1&q=2&key", "/x?q=2&key=a%26b%3D%2Fc%20d"),
        ("/x?keys=1", "/x?keys=1&key=a%26b%3D%2Fc%20d"),
    ],
)
def test_query_over_whatever_stood_there(target: str, expected: str) -> None:
    made = injected(b"a&b=/c d", [ACCEPT], target, style="query", name="key")
    assert made.request.target == expected
    assert made.request.headers == [ACCEPT]


def test_inv_2_the_injected_header_replaces_every_other_of_its_name() -> None:
    before = [(b"authorization", b"Bearer mine"), ACCEPT, (b"authorization", b"Basic x")]
    assert injected(b"token", before, style="bearer").request.headers == [ACCEPT, (b"authorization", b"Bearer token")]


@pytest.mark.parametrize("secret", [b"", b"a\r\nx: y", b"a\nb", b"\0", b"a\x7f", b"\ttab"])
@pytest.mark.parametrize("style", ["bearer", "basic", "header", "query"])
def test_a_secret_that_would_split_the_request_is_not_sent(secret: bytes, style: str) -> None:
    with pytest.raises(Unavailable) as unavailable:
        injected(secret, [], style=style, name="key", username="u")
    assert unavailable.value.code == "credential_unavailable"
    assert secret.decode() not in unavailable.value.detail or not secret


def test_a_credential_is_used_where_it_is_bound() -> None:
    check_binding(connector())
    check_binding(compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["open"])


@pytest.mark.parametrize(
    "config",
    [
        changed("connectors.crm.base_url", "http://api.example:443/v1"),
        changed("connectors.crm.base_url", "https://api.example:8443/v1"),
        changed("connectors.crm.base_url", "https://api.example.evil.example/v1"),
        changed("credentials.crm.hosts", ["other.example:443"]),
        changed("credentials.crm.hosts", ["api.example:444"]),
        changed("credentials.crm.connectors", ["open"]),
        changed("credentials.crm.positions", ["header"]),
    ],
)
def test_a_credential_is_misused_anywhere_else(config: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        check_binding(connector(config))
    assert refused.value.code == "credential_misused"
