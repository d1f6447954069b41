"""Who asks at the administrators' door, and whether the request may be looked at at all.

1. **Host**: the request names this door, not a name that somebody else's DNS points here (DNS rebinding).
2. **Origin**: a browser sends it for a page of another site; only this door's own is taken.
3. **Proof**: the admin socket's owner, a client certificate, or an API key, in this order.
4. **Person**: agents and workloads have keys too; they are refused here.

Nothing here grants anything: which route takes which roles is the route's guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from sidecar.errors import Refused
from sidecar.listeners.routes import OPERATOR, TENANT_ADMIN
from sidecar.model.call import Call
from sidecar.model.principal import Principal
from sidecar.model.secret import Secret
from sidecar.operations.tenant.connectors import TESTER_ID
from sidecar.pipeline.identify import identify, isolate
from sidecar.rules.catalogue import Catalogue

SURFACE: Final = "admin"
SOCKET_PEER: Final = "admin.sock"
_SPIFFE: Final = "spiffe://"
_PRINCIPAL: Final = "principal"
_SITES: Final = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site: our own page, or a person's own doing
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")


class Place(NamedTuple):
    """Where a door listens: the ``hosts`` (``name:port``) a request may name, the ``origins`` of its own pages."""

    hosts: frozenset[str]
    origins: frozenset[str]
    is_socket: bool = False


def place(scheme: str, host: str, port: int, names: tuple[str, ...] = ()) -> Place:
    """A TCP door: ``host`` is its address; ``names`` are those of its certificate."""
    shown = f"[{host}]" if ":" in host else host
    every = {shown, *names, *(_LOOPBACK_NAMES if shown in _LOOPBACK_NAMES else ())}
    hosts = {f"{name}:{port}" for name in every}
    origins = {f"{scheme}://{each}" for each in hosts}
    if port == {"http": 80, "https": 443}[scheme]:
        hosts |= every
        origins |= {f"{scheme}://{name}" for name in every}
    return Place(frozenset(hosts), frozenset(origins))


SOCKET: Final = Place(frozenset({"admin", "localhost"}), frozenset(), is_socket=True)


def check_site(headers: CIMultiDictProxy[str], at: Place) -> None:
    """Steps 1 and 2. Raises ``Refused``: host_forbidden, origin_forbidden (P10)."""
    hosts = headers.getall(hdrs.HOST, [])
    if len(hosts) != 1 or hosts[0].lower() not in at.hosts:
        raise Refused("host_forbidden", "Name this door in Host: its own address and port, or localhost.")
    origins = headers.getall(hdrs.ORIGIN, [])
    if any(origin.lower() not in at.origins for origin in origins) or len(origins) > 1:
        raise Refused("origin_forbidden", "A page of another site may not ask this door. Use its API without Origin.")
    if any(site.lower() not in _SITES for site in headers.getall("Sec-Fetch-Site", [])):
        raise Refused("origin_forbidden", "A page of another site may not ask this door.")


def unproven(request: web.BaseRequest, at: Place, call_id: str, catalogue: Catalogue) -> Call:
    """The request as a call with its proof, before the proof was looked at. Raises ``Refused("malformed")``."""
    if at.is_socket:
        return Call(id=call_id, surface=SURFACE, action="admin", principal=owner(catalogue.tenant), peer=SOCKET_PEER)
    shown = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(shown) > 1:
        raise Refused("malformed", "Two keys came with the request; which one counts would be a guess.")
    scheme, _, token = (shown[0] if shown else "").partition(" ")
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    return Call(
        id=call_id,
        surface=SURFACE,
        action="admin",
        token=Secret(token.strip()) if scheme.lower() == "bearer" else None,
        principal=named(certificate, catalogue) if certificate else None,
        peer=peer(request),
    )


def admit(call: Call, catalogue: Catalogue, now: int) -> Principal:
    """Steps 3 and 4: the person who asks. Raises ``Refused``: unauthenticated, tenant_mismatch, tenant_suspended (but
    for an operator, who can end it), forbidden."""
    principal = identify(call, catalogue, now)
    try:
        isolate(principal, catalogue)
    except Refused as refused:
        if refused.code != "tenant_suspended" or OPERATOR not in principal.roles or principal.kind == "agent":
            raise
    if principal.kind != "person" and principal.id != TESTER_ID:
        raise Refused("forbidden", "This door is for people; an agent's or a workload's key is not taken here.")
    return principal


def owner(tenant: str) -> Principal:
    """Who may open the 0600 socket runs the sidecar: an operator, and an admin of its tenant."""
    return Principal(id=TESTER_ID, kind="system", tenant=tenant, roles=(TENANT_ADMIN, OPERATOR), labels={})


def peer(request: web.BaseRequest) -> str:
    """``address:port`` of who connected."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else SOCKET_PEER


def named(certificate: Mapping[str, Any], catalogue: Catalogue) -> Principal:
    """The principal that a verified client certificate names. Raises ``Refused("unauthenticated")``.

    By URI ``spiffe://<domain>/principal/<id>``, by a DNS name, or, where it has neither, by its common name. Two
    names of two principals are no proof of either.
    """
    alternative = certificate.get("subjectAltName", ())
    uris = [value for kind, value in alternative if kind == "URI"]
    names = [value for kind, value in alternative if kind == "DNS"]
    found = {id for uri in uris if (id := _spiffe(uri)) is not None} | set(names)
    if not uris and not names:
        found = {value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"}
    known = [catalogue.principals[id] for id in found if id in catalogue.principals]
    if len(known) != 1:
        raise Refused("unauthenticated", "The client certificate names no principal that is known here.")
    return known[0]


def _spiffe(uri: str) -> str | None:
    if not uri.startswith(_SPIFFE):
        return None
    steps = uri[len(_SPIFFE) :].split("/")
    return steps[2] if len(steps) == 3 and steps[1] == _PRINCIPAL else None
