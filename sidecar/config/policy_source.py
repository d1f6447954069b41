"""Where decisions come from: one source, and a server that nobody in between can play."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from sidecar.config.authority import base_url
from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults
from sidecar.config.policy_sections import PolicySection, PolicyServer
from sidecar.config.remote_source import check_reference
from sidecar.config.sections import Config
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_PATH: Final[JsonPath] = ("policy", "server")


def check_policy(config: Config, faults: Faults) -> None:
    """Add an error for two sources of decisions, and for a server that could be another's."""
    server = config.policy.server
    if server is None:
        return
    if config.policy.directory != PolicySection().directory:
        message = "the server decides, so the folder would not be read: leave out one of policy.server and this"
        faults.error("two_policies", ("policy", "directory"), message)
    _address(server, faults)
    _files(server, faults)
    if server.token is not None:
        check_token(server.token, (*_PATH, "token"), config, faults)


def _address(server: PolicyServer, faults: Faults) -> None:
    if server.url.startswith("unix://"):
        return
    try:
        base = base_url(server.url)
    except ValueError as error:
        faults.error("wrong_value", (*_PATH, "url"), str(error))
        return
    if base.scheme == "http" and not _is_loopback(base.host):
        message = "decisions never travel over plain http: use https, a loopback address or unix:///path"
        faults.error("plain_http", (*_PATH, "url"), message)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may come to mean another host


def _files(server: PolicyServer, faults: Faults) -> None:
    for name in ("ca_file", "client_cert", "client_key"):
        if getattr(server, name) is not None and not server.url.startswith("https://"):
            faults.error("unused", (*_PATH, name), "this is for https only")
    if (server.client_cert is None) != (server.client_key is None):
        faults.error("missing_key", _PATH, "client_cert and client_key belong together", key=True)


def check_token(reference: str, path: JsonPath, config: Config, faults: Faults) -> None:
    """Add an error for a token that is in the file, or where it cannot be had."""
    scheme, _, locator = reference.partition("://")
    if scheme == "env" and not config.store.allow_environment:
        message = "env:// is for development only: set store.allow_environment, or store the token sealed"
        faults.error("environment_refused", path, message)
    check_reference(reference, path, config, faults, "policy_unavailable")
    if looks_secret(locator):
        faults.error("raw_secret", path, SHAPED_LIKE_ONE)
