"""How the routes of the administrators' door read a query."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.listeners.admin_asked import Asked, flag, limit_of, number
from sidecar.model.principal import Principal

ADA = Principal(id="ada", kind="person", tenant="acme")


def asked(**query: str) -> Asked:
    return Asked(ADA, {}, query, None)


def test_a_flag_is_true_or_false_and_false_by_default() -> None:
    assert (flag(asked(), "force"), flag(asked(force="true"), "force"), flag(asked(force="false"), "force")) == (
        *(False, True, False),
    )
    with pytest.raises(Refused, match="force is true or false"):
        flag(asked(force="1"), "force")


def test_a_page_has_100_and_at_most_500() -> None:
    assert (limit_of(asked()), limit_of(asked(limit="500"))) == (100, 500)
    for wrong in ("0", "501", "-1", "x", "", "1.5"):
        with pytest.raises(Refused):
            limit_of(asked(limit=wrong))


@pytest.mark.parametrize("text", ["", "-1", "+1", "1e3", "\u0661", "9" * 19, " 1"])
def test_a_number_is_ascii_digits(text: str) -> None:
    assert number("42", "days") == 42
    with pytest.raises(Refused, match="days is a number"):
        number(text, "days")
