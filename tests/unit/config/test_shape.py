"""What looks like a key and what does not."""

from __future__ import annotations

import base64
import random
import string
import uuid

import pytest

from sidecar.config.shape import issued, looks_secret

_CHANCE = random.Random(7)
_ALPHABET = string.ascii_letters + string.digits


def _random(length: int, alphabet: str = _ALPHABET, chance: random.Random = _CHANCE) -> str:
    return "".join(chance.choices(alphabet, k=length))


# Built from parts, so that no scanner of repositories takes them for real ones.
ISSUED = [
    "sk-" + "proj-" + _random(32),
    "sk_" + "live_" + _random(24),
    "ghp" + "_" + _random(36),
    "github" + "_pat_" + _random(40),
    "AKIA" + _random(16, string.ascii_uppercase + string.digits),
    "xoxb" + "-1234567890-" + _random(20),
    "AIza" + _random(35),
    "hvs" + "." + _random(24),
    "eyJ" + _random(20) + ".eyJ" + _random(30) + "." + _random(43),
    "scp_" + "k1_" + _random(43),
    "-----BEGIN RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", ISSUED)
def test_inv_5_issued_formats_are_known_anywhere(text: str) -> None:
    assert issued(text)
    assert issued(f"Bearer {text}")
    assert looks_secret(text)


@pytest.mark.parametrize("length", [24, 32, 43, 64])
@pytest.mark.parametrize(
    "alphabet", [_ALPHABET, string.hexdigits.lower(), _ALPHABET + "-_"], ids=["base62", "hex", "base64url"]
)
def test_inv_5_long_random_tokens_are_known(length: int, alphabet: str) -> None:
    chance = random.Random(length)  # of its own, so that the order of tests changes nothing
    tokens = [_random(length, alphabet, chance) for _ in range(200)]
    assert sum(map(looks_secret, tokens)) >= 185  # chance alone makes some of words


def test_inv_5_a_token_behind_its_scheme_is_known() -> None:
    assert looks_secret("Basic " + base64.b64encode(b"user:p4ssw0rd-of-the-user").decode())
    assert looks_secret("Bearer " + _random(40))
    assert looks_secret(str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "crm",
        "reporting-agent-production-eu-west-1",
        "https://api.example.com/v1/customers",
        "application/vnd.github.v3+json",
        "application/json; charset=utf-8",
        "The quick brown fox jumps over the lazy dog 12 times",
        "kv/data/production/crm/api-key",
        "customer_relationship_management_key",
        "2026-01-01T00:00:00Z",
        "{customer_id}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
        "Mozilla/5.0 (X11; Linux x86_64)",
    ],
)
def test_ordinary_text_is_not_taken_for_a_secret(text: str) -> None:
    assert not looks_secret(text)
