"""Step 9: the credential goes in last, over whatever stood there, at its one position (A83, A85)."""

from __future__ import annotations

import base64
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote_plus

import orjson

from sidecar.errors import Reason, Refused, Unavailable
from sidecar.model.credential import Binding, Credential
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.rules.catalogue import Connector
from sidecar.rules.masking import tokens
from sidecar.rules.needles import taken_from

_AUTHORIZATION = b"authorization"
# Bytes a header value cannot hold; a secret with one would split the request (A87, RFC 9110 section 5.5).
_UNSENDABLE = frozenset(range(0x20)) | {0x7F}
_PAIRS: Final = "BASIC_AUTH"  # the kind whose value may be user:password


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
        raise _misused("plain_http", "A credential never travels over plain http.")
    reason = _unbound(binding, connector, auth.style)
    if reason is not None:
        raise _misused(reason, "The credential is not bound to this connector, host and position.")


def _misused(reason: str, detail: str) -> Refused:
    return Refused("credential_misused", detail, [Reason(reason, detail)])


def _unbound(binding: Binding, connector: Connector, style: str) -> str | None:
    if connector.id not in binding.connectors:
        return "connector_refused"
    if f"{connector.host}:{connector.port}" not in binding.hosts:
        return "host_refused"
    return None if style in binding.positions else "position_refused"


def inject(request: Outbound, connector: Connector, credential: Credential, now: int) -> Injected:
    """``request`` with the secret at the connector's position; ``now`` is microseconds since the epoch.

    Raises ``Unavailable("credential_unavailable")`` for a secret that has expired, or that its position cannot hold.
    """
    auth = connector.auth
    assert auth is not None
    if credential.expires is not None and credential.expires <= now:
        raise _unavailable("credential_expired", "The credential has expired; rotate it.")
    secret = credential.secret
    plain = secret.reveal()
    if auth.style == "certificate":  # proves us in the handshake: nothing an upstream could echo leaves
        return Injected(request._replace(certificate=credential), ())
    if auth.style == "body":
        return Injected(*_with_member(request, auth.path or "", secret))
    if not plain or not _UNSENDABLE.isdisjoint(plain):
        raise _unavailable("unsendable", "The credential holds bytes that no header or query may carry.")
    match auth.style:
        case "bearer":
            return Injected(_with_header(request, _AUTHORIZATION, b"Bearer " + plain), (secret,))
        case "basic":
            pair = plain
            if auth.username is not None or credential.kind != _PAIRS or b":" not in plain:
                pair = (auth.username or "").encode() + b":" + plain
            encoded = base64.b64encode(pair)
            sent = _with_header(request, _AUTHORIZATION, b"Basic " + encoded)
            return Injected(sent, (*_basic_secrets(secret, plain, pair), Secret(encoded)))
        case "header":
            assert auth.name is not None
            name = auth.name.lower().encode("ascii")
            return Injected(_with_header(request, name, plain), (secret, *map(Secret, taken_from(name, plain))))
        case "query":
            assert auth.name is not None
            value = quote(plain, safe="")
            return Injected(_with_query(request, auth.name, value), _as_sent(secret, value.encode()))


def _basic_secrets(secret: Secret, plain: bytes, pair: bytes) -> tuple[Secret, ...]:
    """The pair, and the password alone: an upstream that takes the pair apart may echo either."""
    password = Secret(pair.partition(b":")[2]) if pair is plain else secret
    return password, Secret(pair)


def _as_sent(secret: Secret, sent: bytes) -> tuple[Secret, ...]:
    """The secret, and what was written for it: base64 of the whole request is not base64 of the secret."""
    return (secret,) if sent == secret.reveal() else (secret, Secret(sent))


def _unavailable(reason: str, detail: str) -> Unavailable:
    return Unavailable("credential_unavailable", detail, [Reason(reason, detail)])


def _with_header(request: Outbound, name: bytes, value: bytes) -> Outbound:
    kept = [header for header in request.headers if header[0] != name]
    return request._replace(headers=[*kept, (name, value)])


def _with_query(request: Outbound, name: str, value: str) -> Outbound:
    path, _, query = request.target.partition("?")
    pairs = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) != name]
    pairs.append(f"{name}={value}")
    return request._replace(target=f"{path}?{'&'.join(pairs)}")


def _with_member(request: Outbound, pointer: str, secret: Secret) -> tuple[Outbound, tuple[Secret, ...]]:
    """The JSON body with the secret as the member at ``pointer`` (RFC 6901), whose parent is there."""
    *parents, last = tokens(pointer)
    try:
        text = secret.reveal().decode()
        document: Any = orjson.loads(request.body)
        place = document
        for name in parents:
            place = place[name]
        if not isinstance(place, dict):
            raise TypeError(pointer)
        place[last] = text
        return request._replace(body=orjson.dumps(document)), _as_sent(secret, orjson.dumps(text)[1:-1])
    except (ValueError, KeyError, TypeError):  # no JSON, no such parent, or a secret that is no text
        raise _unavailable("no_place", "The request's body has no place for its credential.") from None
