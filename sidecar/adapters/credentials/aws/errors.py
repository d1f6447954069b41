"""What botocore raises, as reasons of ours. Its own texts quote requests, so none is kept, not even as a cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore import exceptions

from sidecar.adapters.credentials.remote.connections import has_ended
from sidecar.adapters.credentials.remote.store import StoreFailure

_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied"})
_LOGIN: Final = frozenset(
    {
        *("UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "ExpiredToken"),
        *("InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired"),
    }
)
_GONE: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})  # the latter: it is being deleted
_ERRORS: Final[tuple[tuple[type[Exception], str], ...]] = (  # the most particular first
    (exceptions.NoCredentialsError, "store_login_refused"),
    (exceptions.PartialCredentialsError, "store_login_refused"),
    (exceptions.CredentialRetrievalError, "store_login_refused"),
    (exceptions.SSLError, "store_untrusted"),
    (exceptions.ReadTimeoutError, "store_slow"),
    (exceptions.ConnectTimeoutError, "store_slow"),
    (exceptions.ConnectionError, "store_unreachable"),
    (exceptions.HTTPClientError, "store_unreachable"),
    (exceptions.BotoCoreError, "store_failing"),
    (KeyError, "store_failing"),  # an answer that is not AWS's
)


@contextmanager
def understood(missing: str, **over: str) -> Iterator[None]:
    """Raise what botocore does as a ``StoreFailure``: ``missing`` for what is not there, ``over`` by AWS's code."""
    try:
        yield
    except StoreFailure:
        raise
    except exceptions.ClientError as error:
        named = str(error.response.get("Error", {}).get("Code", ""))
        raise StoreFailure(over.get(named) or _code(named, missing)) from None
    except Exception as error:
        code = next((code for kind, code in _ERRORS if isinstance(error, kind)), None)
        if isinstance(error, exceptions.SSLError) and has_ended(error):
            code = "store_unreachable"
        if code is None:
            raise
        raise StoreFailure(code) from None


def _code(named: str, missing: str) -> str:
    if named in _GONE:
        return missing
    if named in _DENIED:
        return "store_forbidden"
    return "store_login_refused" if named in _LOGIN else "store_failing"
