"""What a remote store says: secrets by field, and how long something holds."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.model.secret import SHORTEST, Secret
from sidecar.rules.credential_terms import VALUE_LIMIT


def field_secrets(data: Mapping[str, Any]) -> dict[str, Secret]:
    """Every field that is text of a usable length. Others are left out: whoever names one is told there is none.

    Raises ``StoreFailure("unusable_secret")`` where ``data`` is no mapping.
    """
    if not isinstance(data, Mapping):
        raise StoreFailure("unusable_secret")
    found = {name: Secret(value) for name, value in data.items() if isinstance(value, str) and _is_text(value)}
    return {name: secret for name, secret in found.items() if SHORTEST <= len(secret) <= VALUE_LIMIT}


def _is_text(value: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)  # those have no UTF-8


def stated_seconds(said: Any) -> float:
    """A time that a store states. Raises ``StoreFailure("store_failing")`` for anything else.

    JSON as Python reads it has ``NaN`` and ``Infinity``, too: a lease that ends then never does.
    """
    if isinstance(said, bool) or not isinstance(said, int | float) or not isfinite(said) or said < 0:
        raise StoreFailure("store_failing")
    return float(said)
