"""What hvac and the connection below it raise, as reasons of ours.

Their own texts quote paths, answers and sometimes what was sent, so none is kept, not even as a cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
from hvac import exceptions

from sidecar.adapters.credentials.remote.connections import has_ended
from sidecar.adapters.credentials.remote.store import StoreFailure

# The most particular first.
_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.Forbidden, "store_forbidden"),
    (exceptions.Unauthorized, "store_forbidden"),
    (exceptions.InvalidPath, "no_such_secret"),
    (exceptions.VaultNotInitialized, "store_sealed"),
    (exceptions.VaultError, "store_failing"),
    (requests.exceptions.SSLError, "store_untrusted"),
    (requests.exceptions.Timeout, "store_slow"),
    (requests.exceptions.RequestException, "store_unreachable"),
    (KeyError, "store_failing"),  # an answer that is not Vault's
    (TypeError, "store_failing"),
    (ValueError, "store_failing"),
)


@contextmanager
def understood(**over: str) -> Iterator[None]:
    """Raise every failure of an exchange as a ``StoreFailure``; ``over`` gives classes of hvac another code."""
    try:
        yield
    except StoreFailure:
        raise
    except Exception as error:
        code = over.get(type(error).__name__) or _code(error)
        if code is None:
            raise
        raise StoreFailure(code) from None


def _code(error: Exception) -> str | None:
    if isinstance(error, exceptions.VaultDown):
        said = " ".join(map(str, error.errors or ())).lower()
        return "store_sealed" if "sealed" in said else "store_unreachable"
    if isinstance(error, requests.exceptions.SSLError) and has_ended(error):
        return "store_unreachable"
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)
