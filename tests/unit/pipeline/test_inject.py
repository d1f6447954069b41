"""The credential goes in last, over whatever stood there, at its one position (A83, A85, A87, A97)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import orjson
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import Credential
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.inject import Injected, check_binding, inject
from sidecar.rules.catalogue import Connector, compile_catalogue
from sidecar.rules.scrub import Scrubber
from tests.fakes.parts import CONFIG, changed

ACCEPT = (b"accept", b"*/*")
NOW = 1_700_000_000_000_000


def connector(config: dict[str, Any] = CONFIG, auth: dict[str, str] | None = None) -> Connector:
    if auth:
        config = changed("connectors.crm.auth", {"credential": "crm"} | auth, config)
    return compile_catalogue(msgspec.convert(config, Config)).connectors["crm"]


def injected(secret: bytes, headers: list[tuple[bytes, bytes]], target: str = "/x", **auth: str) -> Injected:
    request = Outbound("GET", target, headers, b"")
    return inject(request, connector(CONFIG, auth), Credential(Secret(secret), "1"), NOW)


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
    pair = user.encode() + b":pass:word"
    assert {secret.reveal() for secret in made.secrets} == {b"pass:word", pair, base64.b64encode(pair)}


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


def body_of(document: Any) -> Outbound:
    return Outbound("POST", "/x", [ACCEPT], orjson.dumps(document))


def into_body(secret: bytes, document: Any, path: str = "/auth/token") -> Injected:
    where = connector(CONFIG, {"style": "body", "path": path})
    return inject(body_of(document), where, Credential(Secret(secret), "1"), NOW)


def test_body_over_whatever_the_agent_put_there() -> None:
    made = into_body(b't"k', {"auth": {"token": "mine", "b": 1}, "q": [1]})
    assert orjson.loads(made.request.body) == {"auth": {"token": 't"k', "b": 1}, "q": [1]}
    assert made.request.headers == [ACCEPT]
    assert [secret.reveal() for secret in made.secrets] == [b't"k', b't\\"k']
    assert orjson.loads(into_body(b"token", {}, "/a~1b").request.body) == {"a/b": "token"}


@pytest.mark.parametrize("document", [{}, {"auth": 1}, {"auth": []}, {"auth": None}, [], 1, "auth"])
def test_a_body_without_the_place_is_not_sent(document: Any) -> None:
    with pytest.raises(Unavailable) as unavailable:
        into_body(b"token", document)
    assert unavailable.value.code == "credential_unavailable"


def test_a_secret_that_is_no_text_does_not_fit_a_body() -> None:
    with pytest.raises(Unavailable):
        into_body(b"\xff\xfe\xfd\xfc", {"auth": {}})


def test_a_certificate_goes_to_the_handshake_and_nowhere_else() -> None:
    credential = Credential(Secret(b"pem\nlines"), "3", kind="CERTIFICATE")
    request = Outbound("GET", "/x", [ACCEPT], b"")
    made = inject(request, connector(CONFIG, {"style": "certificate"}), credential, NOW)
    assert made == Injected(request._replace(certificate=credential), ())
    assert "pem" not in repr(made)


@pytest.mark.parametrize(
    ("kind", "username", "pair"),
    [
        ("BASIC_AUTH", None, b"user:pass"),
        ("BASIC_AUTH", "other", b"other:user:pass"),
        ("API_KEY", None, b":user:pass"),
        (None, None, b":user:pass"),
    ],
)
def test_a_basic_credential_may_hold_user_and_password(kind: str | None, username: str | None, pair: bytes) -> None:
    auth = {"style": "basic"} | ({"username": username} if username else {})
    made = inject(
        Outbound("GET", "/x", [], b""),
        connector(CONFIG, auth),
        Credential(Secret(b"user:pass"), "1", kind=kind),
        NOW,
    )
    assert base64.b64decode(made.request.headers[-1][1].removeprefix(b"Basic ")) == pair
    alone = b"pass" if pair == b"user:pass" else b"user:pass"
    assert {secret.reveal() for secret in made.secrets} == {alone, pair, base64.b64encode(pair)}


@pytest.mark.parametrize("style", ["bearer", "basic", "header", "query", "body", "certificate"])
def test_an_expired_credential_is_not_used(style: str) -> None:
    where = connector(CONFIG, {"style": style, "name": "key", "path": "/key"})
    for expires, fits in ((NOW + 1, True), (NOW, False), (NOW - 1, False)):
        credential = Credential(Secret(b"token"), "1", expires=expires)
        if fits:
            inject(body_of({}), where, credential, NOW)
            continue
        with pytest.raises(Unavailable) as unavailable:
            inject(body_of({}), where, credential, NOW)
        assert unavailable.value.reasons[0].code == "credential_expired"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("connectors.crm.base_url", "http://api.example:443/v1", "plain_http"),
        ("credentials.crm.hosts", ["other.example:443"], "host_refused"),
        ("credentials.crm.connectors", ["open"], "connector_refused"),
        ("credentials.crm.positions", ["body", "certificate"], "position_refused"),
    ],
)
def test_a_misuse_says_which_bound_it_broke(path: str, value: Any, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check_binding(connector(changed(path, value)))
    assert [one.code for one in refused.value.reasons] == [reason]


def test_a_key_with_lines_is_found_however_its_lines_break() -> None:
    lines = [b"-----BEGIN OPENSSH PRIVATE KEY-----", b"A" * 70, b"B" * 70, b"short=="]
    made = into_body(b"\n".join(lines), {}, "/key")
    for joined in (b" ", b"\r\n", b""):
        scrubbed = Scrubber(made.secrets).scrub_body(b"key: " + joined.join(lines))[0]
        assert b"AAA" not in scrubbed
        assert b"BBB" not in scrubbed


@pytest.mark.parametrize(
    "auth", [{"style": "basic"}, {"style": "query", "name": "key"}, {"style": "header", "name": "k"}]
)
def test_the_request_as_it_was_sent_is_found_in_base64(auth: dict[str, str]) -> None:
    made = injected(b'pass "word"/1', [], **auth)
    shown = b"\r\n".join([made.request.target.encode(), *(b": ".join(header) for header in made.request.headers)])
    assert_redacted(made, shown)


def test_a_body_as_it_was_sent_is_found_in_base64() -> None:
    made = into_body(b'pass "word"\\\n', {"q": 1}, "/key")
    assert_redacted(made, made.request.body)


def assert_redacted(made: Injected, shown: bytes) -> None:
    for shift in range(3):
        scrubbed = Scrubber(made.secrets).scrub_body(base64.b64encode(b"." * shift + shown))
        assert scrubbed[1] == 1


def test_a_query_field_is_replaced_however_its_name_is_written() -> None:
    made = injected(b"token", [], "/x?%6bey=mine&k%65y&q=key", style="query", name="key")
    assert made.request.target == "/x?q=key&key=token"
