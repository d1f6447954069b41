"""The client of an OPA server's management API, ``opa-python-client``, kept from what it should not do.

It would repair a module that OPA rejects and install what came of it (``rego_compat``): whoever calls it says no. It
has a PATCH that it never repeats, and loads policies from URLs without a bound: neither is used. Its sessions obey
the environment (proxies, .netrc, authorities) and follow redirects: both are switched off here. It takes a refused
token for "not found", and fails in many ways on what is not OPA's: ``ask`` tells them apart. It has no Unix sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import opa_client.errors as failures
from opa_client.opa import OpaClient
from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import HTTPError, RequestException, SSLError, TooManyRedirects

from sidecar.adapters.trust import untrusting
from sidecar.errors import Reason, Unavailable
from sidecar.model.hosts import BaseUrl
from sidecar.model.secret import Secret

_SECONDS: Final = 30.0  # one request; a large policy takes long to compile
PREFIX: Final = "sidecar/"  # of the ids of our modules; what others put there is left alone
_NOT_FOUND: Final = "PolicyNotFoundError"  # the client's own code; any other is the server's
_REFUSED: Final = "it refuses the token (--token-file), or its system.authz does not allow this"
_REFUSALS: Final = (
    failures.RegoParseError,
    failures.PolicyNotFoundError,
    failures.DeletePolicyError,
    failures.DeleteDataError,
)


class Rejected(Exception):
    """The server refused, by its ``code``; ``errors`` say where and why."""

    def __init__(self, code: str, message: str, errors: tuple[Reason, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.errors = errors


def remote_client(
    base: BaseUrl, token: Secret | None, ca: Path | None = None, cert: tuple[Path, Path] | None = None
) -> OpaClient:
    """A client that heeds nothing but its arguments."""
    client = OpaClient(
        host=f"[{base.host}]" if ":" in base.host else base.host,
        port=base.port,
        ssl=(str(ca) if ca else True) if base.scheme == "https" else False,
        cert=(str(cert[0]), str(cert[1])) if cert else None,
        token=token.reveal().decode() if token is not None else None,
        retries=0,  # what failed is brought back, not tried again behind our back
        timeout=_SECONDS,
    )
    session = client._session  # the client has no setting for these
    session.mount("https://", _Adapter())
    session.trust_env = False
    session.max_redirects = 1
    session.hooks["response"].append(_stay)
    return client


class _Adapter(HTTPAdapter):
    """Connections that trust what they are told to on every Python alike; like the client's own they try once."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        super().init_poolmanager(*given, **named, ssl_context=untrusting())


def _stay(response: Response, **_: Any) -> None:
    """Refuse to be sent to another server; to another path of the same is how OPA answers the list of policies."""
    if response.is_redirect and not response.headers["Location"].startswith("/v1/"):
        raise TooManyRedirects(response=response)


def ask(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """One call of the client's. Raises ``Rejected`` where the server says no, ``Unavailable`` where it is silent."""
    try:
        return call(*arguments, **named)
    except _REFUSALS as refusal:
        code = str(refusal.expression)
        errors = tuple(map(_reason, getattr(refusal, "errors", ())))
        raise Rejected(code, _REFUSED if code == "unauthorized" else str(refusal.message), errors) from None
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise Rejected("unauthorized", _REFUSED) from None
        raise unreachable(f"it answers {status}") from None
    except TooManyRedirects:
        raise unreachable("it redirects elsewhere, which is not followed") from None
    except SSLError:
        raise unreachable("its certificate is not trusted, or it wants one of ours (--ca, --cert, --key)") from None
    except (RequestException, ValueError, AttributeError, KeyError, TypeError):
        # The client reads error documents without looking: what is not OPA's fails inside it, in many ways.
        raise unreachable("it does not answer, or not as OPA does") from None


def found(client: OpaClient, path: str) -> Any:
    """What is at ``path`` of the server's data; None where there is nothing."""
    try:
        return ask(client.get_data, path)["result"]
    except Rejected as refusal:
        if refusal.code == _NOT_FOUND:
            return None
        raise


def _reason(error: Any) -> Reason:
    """One of OPA's errors as a reason, with its place."""
    said = error if isinstance(error, dict) else {}
    at = said.get("location")
    place = at if isinstance(at, dict) else {}
    file = str(place.get("file", "")).removeprefix(PREFIX)
    where = f"{file}:{place.get('row', 0)}: " if file else ""
    return Reason(str(said.get("code", "rejected")), where + str(said.get("message", "no explanation")))


def unreachable(why: str) -> Unavailable:
    """For a server that cannot be asked."""
    return Unavailable("policy_unavailable", f"The OPA server cannot be used: {why}.")
