"""What a remote store holds at one place, as secrets by field."""

from __future__ import annotations

from collections.abc import Mapping
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
