from __future__ import annotations

from typing import Any

import pytest

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.values import field_secrets
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
