"""What the sections ``vault`` and ``aws`` must keep, and the references that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sidecar.config.authority import base_url
from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults
from sidecar.config.remotes import VaultLogin, VaultSection
from sidecar.config.sections import Config
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_NEEDED: Final = {  # method: what it needs, and what it takes
    "token": (("file",), ("file",)),
    "approle": (("role_id", "file"), ("role_id", "file", "mount")),
    "kubernetes": (("role",), ("role", "file", "mount")),
    "jwt": (("role", "file"), ("role", "file", "mount")),
}


def check_remotes(config: Config, faults: Faults) -> None:
    """Add an error for every setting and every reference that could not work, or could be another's."""
    if config.vault is not None:
        _vault(config.vault, config, faults)
    if config.aws is not None and config.aws.endpoint is not None:
        _address(config.aws.endpoint, ("aws", "endpoint"), config, faults)
    for name, credential in config.credentials.items():
        check_reference(credential.reference, ("credentials", name, "reference"), config, faults)


def check_reference(
    text: str, path: JsonPath, config: Config, faults: Faults, code: str = "credential_unavailable"
) -> None:
    """The remote store that a reference names is configured, and lets the tenant name it; else what calls get."""
    scheme, _, rest = text.partition("://")
    locator, _, version = rest.partition("#")[0].partition("@")
    match scheme:
        case "vault" | "aws" if getattr(config, scheme) is None:
            message = f"the section {scheme} is missing: calls that need this get {code}"
            faults.warn(f"no_{scheme}", path, message)
        case "vault":
            assert config.vault is not None
            _in_vault(config.vault, locator, version, path, config.tenant, faults)
        case "aws":
            assert config.aws is not None
            if not config.aws.allows(locator, config.tenant):
                faults.error("other_tenant", path, _outside("aws.names", config.aws.names))


def remote_files(config: Config, directory: Path, faults: Faults) -> Iterator[Path]:
    """The files whose change needs a reload; an error for each that is missing. A login's file may come later."""
    for name, section in (("vault", config.vault), ("aws", config.aws)):
        if section is not None and section.ca_file is not None:
            yield directory / section.ca_file
            if not (directory / section.ca_file).is_file():
                faults.error("no_file", (name, "ca_file"), "there is no such file")


def _in_vault(section: VaultSection, locator: str, version: str, path: JsonPath, tenant: str, faults: Faults) -> None:
    mount = section.mount_of(locator)
    if mount is None:
        known = ", ".join(sorted(section.mounts))
        faults.error("unknown_mount", path, f"the path begins with none of vault.mounts: {known}")
    elif version and section.mounts[mount] != "kv2":
        faults.error("no_versions", path, f"{mount} is mounted as {section.mounts[mount]}: only kv2 has versions")
    if not section.allows(locator, tenant):
        faults.error("other_tenant", path, _outside("vault.paths", section.paths))


def _outside(key: str, allowed: tuple[str, ...]) -> str:
    return f"the reference is under none of {key}, so it may be another tenant's: {', '.join(allowed)}"


def _vault(section: VaultSection, config: Config, faults: Faults) -> None:
    _address(section.address, ("vault", "address"), config, faults)
    _login(section.login, faults)
    for at, text in enumerate(section.paths):
        if "{tenant}" not in text and config.tenant not in text:
            message = "the path does not name the tenant: other tenants' sidecars may use it as well"
            faults.warn("shared_path", ("vault", "paths", at), message)


def _login(login: VaultLogin, faults: Faults) -> None:
    needed, taken = _NEEDED[login.method]
    for name in needed:
        if getattr(login, name) is None:
            faults.error("missing_key", ("vault", "login"), f"the method {login.method} needs {name}", key=True)
    for name in ("file", "role", "role_id", "mount"):
        if getattr(login, name) is not None and name not in taken:
            faults.error("unused", ("vault", "login", name), f"the method {login.method} does not use it", key=True)
    for name in ("file", "role"):
        if looks_secret(getattr(login, name) or ""):
            faults.error("raw_secret", ("vault", "login", name), SHAPED_LIKE_ONE)


def _address(text: str, path: JsonPath, config: Config, faults: Faults) -> None:
    try:
        base = base_url(text)
    except ValueError as error:
        faults.error("wrong_value", path, str(error))
        return
    if base.scheme == "http" and not _is_loopback(base.host):
        faults.error("plain_http", path, "secrets never travel over plain http: use https, or a loopback address")
    for name, connector in config.connectors.items():
        if _place(connector.base_url) == (base.host, base.port):
            message = f"connector '{name}' dials it: what holds the secrets is never a destination"
            faults.error("overlap", path, message)


def _place(url: str) -> tuple[str, int] | None:
    try:
        base = base_url(url)
    except ValueError:
        return None  # told where it stands
    return base.host, base.port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may come to mean another host
