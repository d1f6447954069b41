"""The secret type has one visible form."""

from __future__ import annotations

import copy
import json
import pickle

import msgspec
import orjson
import pytest
from sidecar.model.secret import MASK, Secret

CANARY = "canary-9f8e7d6c5b4a"


def test_inv_5_no_visible_form_shows_a_secret() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret]), f"{secret!r}"]
    assert not [text for text in shown if CANARY in text]
    assert all(MASK in text for text in shown)


@pytest.mark.parametrize("encode", [pickle.dumps, json.dumps, orjson.dumps, msgspec.json.encode, copy.copy])
def test_inv_5_a_secret_cannot_be_encoded(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(TypeError) as raised:
        encode(Secret(CANARY))
    assert CANARY not in str(raised.value)


def test_inv_5_an_exception_that_carries_a_secret_does_not_show_it() -> None:
    error = ValueError("no", Secret(CANARY))
    assert CANARY not in repr(error) + str(error)


def test_reveal_gives_the_bytes() -> None:
    assert Secret(CANARY).reveal() == CANARY.encode()
    assert Secret(b"\x00\xff").reveal() == b"\x00\xff"
    assert len(Secret("ä")) == 2


def test_secrets_compare_by_value_and_are_not_keys() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    with pytest.raises(TypeError):
        hash(Secret("a"))
    assert not hasattr(Secret("a"), "__dict__")
