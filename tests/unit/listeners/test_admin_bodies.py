"""What is sent to the administrators' door."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.errors import Refused
from sidecar.listeners.admin_bodies import Expiry, KeyOrder, Rotation, Run, Why, decoded


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
