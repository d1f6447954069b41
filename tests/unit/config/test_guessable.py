"""P11: keys that anybody can guess are refused by their hash."""

from __future__ import annotations

import hashlib

import pytest

from sidecar.cli.keys import make
from sidecar.config.guessable import is_guessable


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "key",
    ["", "admin", "changeme", "k1", "scp_k1_", "scp_k1_secret", "scp_k1_" + "A" * 43, "scp_k1_" + "_" * 43],
)
def test_p11_a_default_key_is_known_by_its_hash(key: str) -> None:
    assert is_guessable("k1", hashed(key))


def test_p11_a_made_key_is_not_guessable() -> None:
    for number in range(20):
        made = make("person", f"k{number}")
        assert not is_guessable(made.id, made.sha256)


def test_a_guess_is_for_its_own_id() -> None:
    assert not is_guessable("k2", hashed("scp_k1_" + "A" * 43))
