from __future__ import annotations

from typing import Any

import pytest

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.values import field_secrets, stated_seconds
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import VALUE_LIMIT


def test_usable_texts_are_secrets() -> None:
    data = {"token": "value-12345678", "many": "line\nline", "short": "abc", "number": 12345678, "none": None}
    data |= {"long": "x" * (VALUE_LIMIT + 1), "broken": "\ud800-12345678"}
    assert field_secrets(data) == {"token": Secret("value-12345678"), "many": Secret("line\nline")}


@pytest.mark.parametrize("data", [None, "text", 7, ["value-12345678"]])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(StoreFailure):
        field_secrets(data)


def test_a_time_is_a_number_of_seconds_that_has_an_end() -> None:
    assert [stated_seconds(said) for said in (0, 60, 0.5)] == [0.0, 60.0, 0.5]


@pytest.mark.parametrize("said", [None, "60", True, -1, float("nan"), float("inf"), [60]])
def test_c01_what_is_no_time_lengthens_none(said: Any) -> None:
    with pytest.raises(StoreFailure) as failure:
        stated_seconds(said)
    assert failure.value.code == "store_failing"
