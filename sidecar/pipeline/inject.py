"""Step 9: the credential goes in last, over whatever stood there, at its one position (A83, A85)."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import quote

from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import Binding, Credential
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.rules.catalogue import Connector

_AUTHORIZATION = b"authorization"
# Bytes a header value cannot hold; a secret with one would split the request (A87, RFC 9110 section 5.5).
_UNSENDABLE = frozenset(range(0x20)) | {0x7F}


class Injected(NamedTuple):
    """The request with its credential, and every form of the secret that an upstream might echo."""

    request: Outbound
    secrets: tuple[Secret, ...]


def check_binding(connector: Connector) -> None:
    """Raises ``Refused("credential_misused")`` unless the credential may be used by this connector, there and so."""
    binding, auth = connector.binding, connector.auth
    if binding is None or auth is None:
        return
    if connector.scheme != "https":
        raise Refused("credential_misused", "A credential never travels over plain http.")
    if not _bound(binding, connector, auth.style):
        raise Refused("credential_misused", "The credential is not bound to this connector, host and position.")


def _bound(binding: Binding, connector: Connector, style: str) -> bool:
    return (
        connector.id in binding.connectors
        and f"{connector.host}:{connector.port}" in binding.hosts
        and style in binding.positions
    )


def inject(request: Outbound, connector: Connector, credential: Credential) -> Injected:
    """``request`` with the secret at the connector's position. Raises ``Unavailable("credential_unavailable")``."""
    auth = connector.auth
    assert auth is not None
    plain = credential.secret.reveal()
    if not plain or not _UNSENDABLE.isdisjoint(plain):
        raise Unavailable("credential_unavailable", "The credential holds bytes that no header or query may carry.")
    match auth.style:
        case "bearer":
            return Injected(_with_header(request, _AUTHORIZATION, b"Bearer " + plain), (credential.secret,))
        case "basic":
            pair = (auth.username or "").encode() + b":" + plain
            encoded = base64.b64encode(pair)
            return Injected(
                _with_header(request, _AUTHORIZATION, b"Basic " + encoded), (credential.secret, Secret(pair))
            )
        case "header":
            assert auth.name is not None
            return Injected(_with_header(request, auth.name.lower().encode("ascii"), plain), (credential.secret,))
        case "query":
            assert auth.name is not None
            return Injected(_with_query(request, auth.name, plain), (credential.secret,))


def _with_header(request: Outbound, name: bytes, value: bytes) -> Outbound:
    kept = [header for header in request.headers if header[0] != name]
    return request._replace(headers=[*kept, (name, value)])


def _with_query(request: Outbound, name: str, plain: bytes) -> Outbound:
    path, _, query = request.target.partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != name]
    pairs.append(f"{name}={quote(plain, safe='')}")
    return request._replace(target=f"{path}?{'&'.join(pairs)}")
