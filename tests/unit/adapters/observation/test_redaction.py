from __future__ import annotations

from typing import Any

import orjson
import pytest

from sidecar.adapters.observation.redaction import redact, redact_line
from sidecar.model.secret import MASK, Secret

NAMES = ["password", "db_passwd", "passphrase", "client_secret", "access_token", "X-Api-Key", "api_key", "apikey"]
NAMES += ["Authorization", "Set-Cookie", "private_key", "masterKey"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["hunter2", b"hunter2", ["hunter2"], {"is": "hunter2"}])
def test_secret_names_hide_what_they_hold(name: str, value: Any) -> None:
    assert redact({name: value, "outer": [{name: value}]}) == {name: MASK, "outer": [{name: MASK}]}


def test_numbers_and_ordinary_names_stay() -> None:
    plain = {"tokens": 12, "secrets_found": True, "password": None, "operation": "find", "ratio": 0.5, "n": [1, "a"]}
    assert redact(plain) == plain


def test_a_secret_is_masked_wherever_it_is() -> None:
    assert redact([{"a": (Secret("x"),)}, Secret("y")]) == [{"a": [MASK]}, MASK]


@pytest.mark.parametrize(
    "value", [object(), b"\xff\x00", 1 << 70, "\ud800", {1, 2}, {3: {"\udfff": 1}}, float("nan")]
)
def test_everything_comes_out_as_json(value: Any) -> None:
    orjson.dumps(redact({"value": value}))


def test_no_foreign_object_shows_its_text() -> None:
    class Talkative:
        def __repr__(self) -> str:
            raise AssertionError("not to be asked")

    assert redact({"value": Talkative()}) == {"value": "(Talkative)"}


def test_depth_is_bounded() -> None:
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    assert "bottom" not in orjson.dumps(redact(deep)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "key scp_agent_4fF-_" + "a" * 40 + " was sent",
        "Authorization: Bearer c2VjcmV0LWNhbmFyeQ==",
        "authorization: bEaRer secret-canary-1",
        "BASIC dXNlcjpzZWNyZXQ=",
        "https://user:secret-canary@host.example/",
        "postgres://secret-canary@host.example/",
        "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0LWNhbmFyeQ\n-----END EC PRIVATE KEY-----",
    ],
)
def test_shapes_of_secrets_are_masked_in_a_line(text: str) -> None:
    line = redact_line(orjson.dumps({"message": text, "next": 1}))
    assert MASK.encode() in line
    for canary in (b"secret-canary", b"c2VjcmV0", b"dXNlcjp", b"a" * 40):
        assert canary not in line
    assert orjson.loads(line)["next"] == 1


def test_an_ordinary_line_is_not_touched() -> None:
    line = b'{"message":"a bearer of news by mail@host.example","principal":"scp_1"}'
    assert redact_line(line) == line
