"""The client-credentials grant of OAuth 2.0 (RFC 6749 section 4.4): the request for a token, and what comes back.

The sidecar is the client: the agent sees neither the client's secret nor the token.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode

import orjson
from msgspec import Struct

from sidecar.errors import Reason, Unavailable
from sidecar.model.credential import Reference

UNSTATED_SECONDS: Final = 60.0  # how long a token is used whose end is not told (RFC 6749 section 5.1 only wishes it)
LONGEST_SECONDS: Final = 86_400.0  # however long an answer says
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{4,8192}=*")  # RFC 6750 section 2.1
_QUOTED: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
# RFC 6749 section 5.2, and what helps with each
_ERRORS: Final = {
    "invalid_client": "the client's id or secret is not accepted; check client_id, or rotate the secret",
    "invalid_scope": "a scope is not granted to this client",
    "invalid_grant": "the grant is not valid",
    "invalid_request": "the request is not accepted; the server may want authentication: basic, or body",
    "unauthorized_client": "this client may not use the client-credentials grant",
    "unsupported_grant_type": "the server does not know the client-credentials grant",
}


class ClientGrant(Struct, frozen=True, kw_only=True):
    """How a credential's tokens are got; ``reference`` is the client's secret."""

    reference: Reference
    host: str  # canonical
    port: int
    path: str
    ca_file: str | None
    client_id: str
    scopes: tuple[str, ...]
    audience: str | None
    in_body: bool  # the secret goes into the body, not into a Basic header (RFC 6749 section 2.3.1)


class Token(NamedTuple):
    """An access token, and for how many seconds it may be used."""

    value: bytes
    seconds: float


def token_request(grant: ClientGrant, secret: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the POST to the token endpoint."""
    fields = {"grant_type": "client_credentials"}
    if grant.scopes:
        fields["scope"] = " ".join(grant.scopes)
    if grant.audience is not None:
        fields["audience"] = grant.audience
    headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
    ]
    if grant.in_body:
        return headers, urlencode({**fields, "client_id": grant.client_id, "client_secret": secret}).encode()
    pair = f"{quote_plus(grant.client_id)}:{quote_plus(secret)}".encode()
    return [*headers, (b"authorization", b"Basic " + base64.b64encode(pair))], urlencode(fields).encode()


def read_token(status: int, body: bytes) -> Token:
    """The token of an answer. Raises ``Unavailable("credential_unavailable")``; nothing of the answer is repeated."""
    document = _document(body)
    value, kind, known = document.get("access_token"), document.get("token_type"), document.get("error")
    if status != 200 or (value is None and known is not None):  # some servers refuse with a 200
        told = _ERRORS.get(str(known), f"it answered {status}")
        raise unavailable("token_refused", f"The token endpoint gave no token: {told}.")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise unavailable("token_unusable", "The token endpoint's answer holds no token that a header can carry.")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise unavailable("token_unusable", "The token endpoint's token is of another type than bearer.")
    seconds = document.get("expires_in")
    if seconds is None:
        seconds = UNSTATED_SECONDS
    if isinstance(seconds, str) and _QUOTED.fullmatch(seconds):  # many servers quote it
        seconds = float(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise unavailable("token_unusable", "The token endpoint does not say in seconds when its token ends.")
    if seconds < 1:
        raise unavailable("token_unusable", "The token endpoint's token has already ended.")
    return Token(value.encode("ascii"), min(float(seconds), LONGEST_SECONDS))


def unavailable(reason: str, detail: str) -> Unavailable:
    """Why there is no token."""
    return Unavailable("credential_unavailable", detail, [Reason(reason, detail)])


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
