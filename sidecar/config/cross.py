"""What one key alone cannot show: that the parts of a configuration fit together.

Each check adds every error it finds: who may call, with what credential, to which connector, by which plane. It runs
on a document that fits the schema, so types and forms are settled.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any, Final

from sidecar.config.authority import base_url, host, host_port
from sidecar.config.bundle import check_bundle
from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults, among, nearest
from sidecar.config.guessable import is_guessable
from sidecar.config.kinds import KINDS, capabilities, needed
from sidecar.config.oauth import check_oauth, token_endpoints
from sidecar.config.operations import check_operation, effect
from sidecar.config.policy_source import check_policy
from sidecar.config.registry_source import check_registry
from sidecar.config.remote_source import check_remotes
from sidecar.config.sections import Auth, Config, ConnectorSection, DoorsSection
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret
from sidecar.model.hosts import BaseUrl

# Fields that frame or route a message, or that the sidecar sets itself: a credential cannot be one of them.
_NOT_FOR_CREDENTIALS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
        "content-type",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
    }
)


def check(config: Config, faults: Faults) -> None:
    """Add an error for everything that does not fit together, a warning for what is probably not meant."""
    _principals(config, faults)
    _credentials(config, faults)
    bases = _connectors(config, faults)
    _planes(config, faults)
    _destinations(config, bases, faults)
    _doors(config, faults)
    check_oauth(config, faults)
    check_registry(config, faults)
    check_remotes(config, faults)
    check_policy(config, faults)
    check_bundle(config, faults)


def _principals(config: Config, faults: Faults) -> None:
    ids: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for name, principal in config.principals.items():
        path: JsonPath = ("principals", name)
        if principal.tenant not in (None, config.tenant):
            message = "the principal is of another tenant: its calls get tenant_mismatch"
            faults.warn("tenant_mismatch", (*path, "tenant"), message)
        if not principal.keys:
            faults.warn("no_key", path, "the principal has no key, so it cannot call", key=True)
        for at, key in enumerate(principal.keys):
            if is_guessable(key.id, key.sha256):
                message = "this is the hash of an example key that anybody can guess; `sidecar keys new` makes one"
                faults.error("default_key", (*path, "keys", at, "sha256"), message)
            for field, value, seen in (("id", key.id, ids), ("sha256", key.sha256, hashes)):
                if value in seen:
                    message = f"the {field} of a key is unique; principal '{seen[value]}' has the same"
                    faults.error("duplicate_key", (*path, "keys", at, field), message)
                seen.setdefault(value, name)


def _credentials(config: Config, faults: Faults) -> None:
    used = {connector.auth.credential for connector in config.connectors.values() if connector.auth}
    for name, credential in config.credentials.items():
        path: JsonPath = ("credentials", name)
        scheme, _, locator = credential.reference.partition("://")
        if scheme == "env" and not config.store.allow_environment:
            message = "env:// is for development only: set store.allow_environment, or store the secret sealed"
            faults.error("environment_refused", (*path, "reference"), message)
        if looks_secret(locator):
            faults.error("raw_secret", (*path, "reference"), SHAPED_LIKE_ONE)
        for at, text in enumerate(credential.hosts):
            _parsed(host_port, text, (*path, "hosts", at), faults)
        for at, connector in enumerate(credential.connectors):
            _known(connector, config.connectors, "connector", (*path, "connectors", at), faults)
        if name not in used:
            faults.warn("unused", path, "no connector uses the credential", key=True)


def _connectors(config: Config, faults: Faults) -> dict[str, BaseUrl]:
    bases: dict[str, BaseUrl] = {}
    owners: dict[tuple[str, int], str] = {}
    for name, connector in config.connectors.items():
        path: JsonPath = ("connectors", name)
        base = _parsed(base_url, connector.base_url, (*path, "base_url"), faults)
        if base is not None:
            bases[name] = base
            if any(map(looks_secret, base.path_prefix.split("/"))):
                faults.error("raw_secret", (*path, "base_url"), SHAPED_LIKE_ONE)
            owner = owners.setdefault((base.host, base.port), name)
            if owner != name:
                message = f"connector '{owner}' has the same host and port; they belong to one connector"
                faults.error("overlap", (*path, "base_url"), message)
        if connector.auth is not None:
            _auth(name, connector.auth, base, faults)
            _binding(name, connector.auth, base, config, faults)
        _capabilities(connector, path, faults)
        if not connector.operations:
            faults.warn("no_operation", path, "the connector has no operation, so it can do nothing", key=True)
        for key, operation in connector.operations.items():
            check_operation(operation, connector.auth, (*path, "operations", key), faults)
    return bases


def _capabilities(connector: ConnectorSection, path: JsonPath, faults: Faults) -> None:
    kind = KINDS[connector.kind]
    for at, capability in enumerate(connector.capabilities or ()):
        if capability not in kind.capabilities:
            message = f"connectors of kind {connector.kind} cannot do that; they can: {_sorted(kind.capabilities)}"
            faults.error("not_capable", (*path, "capabilities", at), message)
    can = capabilities(connector.kind, connector.capabilities)
    for key, operation in connector.operations.items():
        missing = needed(effect(operation), operation.stream) - can
        if missing:
            message = f"the operation needs what the connector's capabilities leave out: {_sorted(missing)}"
            faults.error("not_capable", (*path, "operations", key), message)


def _sorted(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _auth(name: str, auth: Auth, base: BaseUrl | None, faults: Faults) -> None:
    path: JsonPath = ("connectors", name, "auth")
    if auth.style in ("header", "query") and auth.name is None:
        faults.error("missing_key", path, f"the style {auth.style} needs a name", key=True)
    if auth.style == "body" and auth.path is None:
        faults.error("missing_key", path, "the style body needs a path", key=True)
    if auth.style == "header" and (auth.name or "").lower() in _NOT_FOR_CREDENTIALS:
        faults.error("wrong_value", (*path, "name"), "this header frames or routes the message")
    if auth.username is not None and looks_secret(auth.username):
        faults.error("raw_secret", (*path, "username"), SHAPED_LIKE_ONE)
    if auth.username is not None and (":" in auth.username or not auth.username.isprintable()):
        faults.error("wrong_value", (*path, "username"), "it has no colon or control character (RFC 7617 section 2)")
    if base is not None and base.scheme != "https":
        faults.error("plain_http", ("connectors", name, "base_url"), "a credential never travels over plain http")


def _binding(name: str, auth: Auth, base: BaseUrl | None, config: Config, faults: Faults) -> None:
    """The credential allows what the connector wants of it."""
    path: JsonPath = ("connectors", name, "auth")
    if not _known(auth.credential, config.credentials, "credential", (*path, "credential"), faults):
        return
    credential = config.credentials[auth.credential]
    where: JsonPath = ("credentials", auth.credential)
    if auth.style not in credential.positions:
        message = (
            f"credential '{auth.credential}' may not be used so; its positions: {', '.join(credential.positions)}"
        )
        faults.error("position_refused", (*path, "style"), message)
    if name not in credential.connectors:
        message = f"connector '{name}' uses the credential and is not among its connectors"
        faults.error("connector_refused", (*where, "connectors"), message)
    if base is not None and not any(_same(text, base) for text in credential.hosts):
        message = f"the host and port of connector '{name}' are not among the credential's hosts"
        faults.error("host_refused", (*where, "hosts"), message)


def _same(text: str, base: BaseUrl) -> bool:
    try:
        return host_port(text) == (base.host, base.port)
    except ValueError:
        return False


def _planes(config: Config, faults: Faults) -> None:
    for name, source in config.sources.items():
        served = config.connectors.get(source.connector)
        if _known(source.connector, config.connectors, "connector", ("sources", name, "connector"), faults):
            assert served is not None
            serves = KINDS[served.kind].serves
            if source.type not in serves:
                message = f"a connector of kind {served.kind} serves sources of the types {_sorted(serves)}"
                faults.error("not_capable", ("sources", name, "type"), message)
    for name, plane in config.planes.items():
        path: JsonPath = ("planes", name)
        if not _known(plane.source, config.sources, "source", (*path, "source"), faults):
            continue
        connector = config.connectors.get(config.sources[plane.source].connector)
        if connector is None:
            continue
        can = capabilities(connector.kind, connector.capabilities)
        for action, operations in plane.actions.items():
            missing = needed("read", False, action) - can
            if missing:
                message = f"the plane's connector leaves out the capabilities {_sorted(missing)}"
                faults.error("not_capable", (*path, "actions", action), message)
            for at, operation in enumerate(operations):
                where: JsonPath = (*path, "actions", action, at)
                if not _known(operation, connector.operations, "operation of the plane's connector", where, faults):
                    continue
                if effect(connector.operations[operation]) != "read":
                    message = "a plane binds operations that read; this one writes (unless it declares effect: read)"
                    faults.error("write_refused", where, message)


def _destinations(config: Config, bases: dict[str, BaseUrl], faults: Faults) -> None:
    dialled = {(base.host, base.port) for base in bases.values()} | token_endpoints(config)
    seen: dict[tuple[str, int], str] = {}
    for key, grant in config.destinations.items():
        path: JsonPath = ("destinations", key)
        name = _parsed(host, f"[{grant.name}]" if ":" in grant.name else grant.name, (*path, "name"), faults)
        if name is not None:
            owner = seen.setdefault((name, grant.port), key)
            if owner != key:
                faults.error("overlap", (*path, "name"), f"grant '{owner}' is for the same name and port")
            if (name, grant.port) not in dialled:
                faults.warn("unused", path, "no connector dials this name and port", key=True)
        networks = [
            _parsed(ip_network, text, (*path, "networks", at), faults, "a network is written as address/length")
            for at, text in enumerate(grant.networks)
        ]
        for at, text in enumerate(grant.addresses):
            where: JsonPath = (*path, "addresses", at)
            address = _parsed(ip_address, text, where, faults, "this is no IP address")
            if address is not None and not any(network is not None and address in network for network in networks):
                faults.error("outside_networks", where, "the address is in none of the grant's networks")


def _doors(config: Config, faults: Faults) -> None:
    access = _listening(config.doors.access, ("doors", "access"), faults)
    metrics = _listening(config.doors.metrics, ("doors", "metrics"), faults)
    if access is not None and not ip_address(access[0]).is_loopback:
        message = "the access door is for the agent beside the sidecar: a loopback address, such as 127.0.0.1"
        faults.error("not_loopback", ("doors", "access"), message)
    _admin_door(config.doors, [access, metrics], faults)
    if access is not None and access == metrics and access[1] != 0:  # two doors on 0 get a port each
        faults.error("overlap", ("doors", "metrics"), "the access door listens there")


def _admin_door(doors: DoorsSection, others: list[tuple[str, int] | None], faults: Faults) -> None:
    path: JsonPath = ("doors", "admin")
    if doors.admin is None:
        if doors.admin_tls is not None:
            faults.error("unused", ("doors", "admin_tls"), "there is TLS for a door that is not opened", key=True)
        return
    admin = _listening(doors.admin, path, faults)
    if admin is None:
        return
    if doors.admin_tls is None and not ip_address(admin[0]).is_loopback:
        message = "keys would travel in the clear: a loopback address, such as 127.0.0.1, or set doors.admin_tls"
        faults.error("not_loopback", path, message)
    if admin[1] != 0 and admin in others:
        faults.error("overlap", path, "another door listens there")


def _listening(text: str, path: JsonPath, faults: Faults) -> tuple[str, int] | None:
    name, _, number = text.rpartition(":")
    place = _parsed(host_port, f"{name}:1" if number == "0" else text, path, faults)  # 0: the system chooses a port
    if place is None:
        return None
    try:
        ip_address(place[0])
    except ValueError:
        faults.error("wrong_value", path, "a door is an IP address and a port; a name may come to mean another host")
        return None
    return (place[0], int(number))


def _known(text: str, known: dict[Any, Any], noun: str, path: JsonPath, faults: Faults) -> bool:
    if text in known:
        return True
    if looks_secret(text):
        faults.error("raw_secret", path, SHAPED_LIKE_ONE)
    elif text not in faults.set_aside:
        faults.error(
            "unknown_reference", path, f"there is no such {noun}{nearest(text, known) or '; ' + among(known)}"
        )
    return False


def _parsed(parse: Any, text: str, path: JsonPath, faults: Faults, sentence: str | None = None) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        faults.error("wrong_value", path, sentence or str(error))
        return None
