"""What is sent to the administrators' door."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.errors import Refused
from sidecar.listeners.admin_bodies import (
    Amended,
    Expiry,
    KeyOrder,
    Rollback,
    Rotated,
    Rotation,
    Run,
    Stored,
    Why,
    decoded,
    schema_of,
)
from sidecar.model.credential import Terms
from sidecar.model.secret import Secret


def test_a_body_is_its_class() -> None:
    assert decoded({"principal": "bob"}, KeyOrder) == KeyOrder(principal="bob", expires=None)
    assert decoded({}, Rotation).grace_seconds == 3600


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"principal": "Not An Id"}, KeyOrder),
        ({}, KeyOrder),
        ({"principal": "bob", "roles": []}, KeyOrder),
        ({"grace_seconds": -1}, Rotation),
        ({"grace_seconds": True}, Rotation),
        ({"at": 1 << 54}, Expiry),
        ({"at": "now"}, Expiry),
        ({"parameters": [1]}, Run),
        ({"idempotency_key": ""}, Run),
        ({"reason": "x" * 501}, Why),
    ],
)
def test_what_it_is_not_is_refused(value: dict[str, Any], kind: Any) -> None:
    with pytest.raises(Refused) as refused:
        decoded(value, kind)
    assert refused.value.code == "invalid_payload"


def test_inv_5_a_refusal_repeats_no_value() -> None:
    with pytest.raises(Refused) as refused:
        decoded({"principal": "hunter2-is-my-password!"}, KeyOrder)
    assert "hunter2" not in refused.value.detail


def test_a_value_is_a_secret_as_soon_as_it_is_read() -> None:
    body = decoded({"value": "hunter2-hunter2", "kind": "CUSTOM", "rotate_days": 9}, Stored)
    assert body.value == Secret("hunter2-hunter2") and "hunter2" not in repr(body)
    assert body.terms == Terms(kind="CUSTOM", rotate_days=9)
    assert decoded({"value": "\u20ac\u20ac"}, Rotated).value == Secret("\u20ac\u20ac".encode())


@pytest.mark.parametrize("kind", [Stored, Rotated])
@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"value": ""},
        {"value": "abc"},
        {"value": None},
        {"value": "x" * 65_537},
        {"value": "\u20ac" * 30_000},
        {"value": ["hunter2"]},
        {"value": "enough", "hunter2": 1},
        {"value": "enough", "expires": "hunter2"},
        {"value": "enough", "expires": -1},
    ],
)
def test_inv_5_a_body_with_a_secret_is_refused_without_a_word_of_it(wrong: dict[str, Any], kind: Any) -> None:
    with pytest.raises(Refused) as refused:
        decoded(wrong, kind)
    assert refused.value.code == "invalid_payload"
    assert "hunter2" not in refused.value.detail and "value (text of 4 to 65536 bytes)" in refused.value.detail


def test_what_an_amendment_does_not_name_stays_and_null_takes_away() -> None:
    terms = Terms(kind="CUSTOM", expires=7, rotate_days=9)
    assert decoded({}, Amended).over(terms) == terms
    assert decoded({"expires": None}, Amended).over(terms) == Terms(kind="CUSTOM", rotate_days=9)
    assert decoded({"kind": "OAUTH", "expires": 8, "rotate_days": 1}, Amended).over(terms) == Terms(
        kind="OAUTH", expires=8, rotate_days=1
    )


def test_a_secret_is_write_only_in_the_schema() -> None:
    assert schema_of(Secret)["writeOnly"] is True
    with pytest.raises(NotImplementedError):
        schema_of(object)


@pytest.mark.parametrize("reason", ["one\ntwo", "one\n", "\x1b[2J", "a\x9bm", "a\u2028b", "x" * 501])
def test_a_reason_is_one_printable_line(reason: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"reason": reason}, Rollback)
    assert msgspec.convert({"reason": "the café's notice (§ 4)"}, Rollback).reason == "the café's notice (§ 4)"
