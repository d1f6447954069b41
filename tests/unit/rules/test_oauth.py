"""The client-credentials grant, both ways; nothing of an answer is repeated."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import msgspec
import pytest

from sidecar.errors import Unavailable
from sidecar.model.credential import Reference
from sidecar.rules.oauth import LONGEST_SECONDS, UNSTATED_SECONDS, ClientGrant, Token, read_token, token_request

GRANT = ClientGrant(
    reference=Reference("encrypted", "client"),
    host="login.example",
    port=443,
    path="/token",
    ca_file=None,
    client_id="the client:id",
    scopes=("read", "write"),
    audience="https://api.example",
    in_body=False,
)
SECRET = b"s3cr%t+/&= :x"


def test_the_secret_goes_into_a_basic_header_each_half_form_encoded() -> None:
    headers, body = token_request(GRANT, SECRET)
    pair = base64.b64decode(dict(headers)[b"authorization"].removeprefix(b"Basic ")).decode()
    assert [unquote_plus(half) for half in pair.split(":")] == ["the client:id", SECRET.decode()]
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["read write"],
        "audience": ["https://api.example"],
    }
    assert dict(headers)[b"accept-encoding"] == b"identity"


def test_or_into_the_body_and_nowhere_else() -> None:
    grant = msgspec.structs.replace(GRANT, in_body=True, scopes=(), audience=None)
    headers, body = token_request(grant, SECRET)
    assert b"authorization" not in dict(headers)
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["the client:id"],
        "client_secret": [SECRET.decode()],
    }


def answer(**members: Any) -> bytes:
    return json.dumps({"access_token": "tok3n.abc", "token_type": "Bearer"} | members).encode()


@pytest.mark.parametrize(
    ("members", "seconds"),
    [
        ({"expires_in": 3600}, 3600.0),
        ({"expires_in": "3600"}, 3600.0),
        ({"expires_in": 1.5, "token_type": "bearer"}, 1.5),
        ({"expires_in": "60.5"}, 60.5),
        ({}, UNSTATED_SECONDS),
        ({"expires_in": None}, UNSTATED_SECONDS),
        ({"expires_in": 10**12}, LONGEST_SECONDS),
        ({"expires_in": "9" * 50}, LONGEST_SECONDS),
    ],
)
def test_a_token_and_how_long_it_may_be_used(members: dict[str, Any], seconds: float) -> None:
    assert read_token(200, answer(**members)) == Token(b"tok3n.abc", seconds)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"", "token_unusable"),
        (200, b"canary", "token_unusable"),
        (200, b"[]", "token_unusable"),
        (200, answer(access_token="can\r\nary"), "token_unusable"),
        (200, answer(access_token=None), "token_unusable"),
        (200, answer(access_token=""), "token_unusable"),
        (200, answer(token_type="mac-canary"), "token_unusable"),
        (200, answer(token_type=None), "token_unusable"),
        (200, answer(expires_in=0), "token_unusable"),
        (200, answer(expires_in=-1), "token_unusable"),
        (200, answer(expires_in=5e-324), "token_unusable"),  # each call would fetch one
        (200, answer(expires_in=True), "token_unusable"),
        (200, answer(expires_in="canary"), "token_unusable"),
        (302, b"", "token_refused"),
        (401, b'{"error": "invalid_client", "error_description": "canary"}', "token_refused"),
        (400, b'{"error": "canary"}', "token_refused"),
        (500, b"canary", "token_refused"),
    ],
)
def test_anything_else_is_no_token_and_is_not_repeated(status: int, body: bytes, reason: str) -> None:
    with pytest.raises(Unavailable) as unavailable:
        read_token(status, body)
    assert unavailable.value.code == "credential_unavailable"
    assert [one.code for one in unavailable.value.reasons] == [reason]
    assert "canary" not in f"{unavailable.value} {unavailable.value.reasons}"


def test_a_known_error_says_what_helps() -> None:
    with pytest.raises(Unavailable, match="rotate the secret"):
        read_token(401, b'{"error": "invalid_client"}')


def test_an_error_is_one_whatever_the_status_says() -> None:
    with pytest.raises(Unavailable, match="rotate the secret") as refused:
        read_token(200, b'{"error": "invalid_client"}')
    assert refused.value.reasons[0].code == "token_refused"


@pytest.mark.parametrize("end", [0, -1, 0.5, "0", "-5", "0.5", "", "soon", "1e3", " 60", "\u0663", True, [], {}])
def test_a_token_without_an_end_to_come_is_none(end: Any) -> None:
    ended = end in (0, -1, 0.5, "0", "-5", "0.5")
    with pytest.raises(Unavailable, match="already ended" if ended else "does not say in seconds"):
        read_token(200, answer(expires_in=end))
