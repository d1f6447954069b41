"""Who asks is a frozen value."""

from __future__ import annotations

import pytest

from sidecar.model.principal import Principal


def test_inv_8_a_principal_is_frozen() -> None:
    principal = Principal(id="reader", kind="agent", tenant="acme")
    with pytest.raises(AttributeError):
        setattr(principal, "tenant", "other")  # noqa: B010  # a plain assignment would not pass the type check


def test_two_principals_with_the_same_facts_are_equal() -> None:
    assert Principal(id="a", kind="agent", tenant="t") == Principal(id="a", kind="agent", tenant="t")
    assert Principal(id="a", kind="agent", tenant="t") != Principal(id="a", kind="agent", tenant="u")


def test_roles_and_labels_are_empty_by_default_and_not_shared() -> None:
    one, other = (Principal(id=name, kind="agent", tenant="t") for name in "ab")
    assert one.roles == ()
    assert one.labels is not other.labels
