"""The ways to log in to a Vault or OpenBao server: one function a method, each reading its file anew.

What proves the sidecar is always in a file that something else keeps fresh: an agent's token sink, a mounted secret
id, the kubelet's projected service-account token. The file of a token or a secret id must not be open to everybody;
a service-account token's mode is the kubelet's choice, and it is short-lived and bound to its audience.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import hvac

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.values import stated_seconds
from sidecar.config.remotes import VaultLogin
from sidecar.model.secret import Secret

_FILE_LIMIT: Final = 1 << 16  # bytes
_OF_OTHERS: Final = stat.S_IRWXO
_PROOF: Final = re.compile(
    rb"[\x21-\x7e]+"
)  # what a header's value may be; one that is not would look like an outage


class Granted(NamedTuple):
    """A token, how many seconds it is good for (0: for ever), and whether it may be renewed."""

    token: Secret
    seconds: float
    renewable: bool


def proof(login: VaultLogin, directory: Path) -> Secret:
    """What the login's file holds now. Raises ``StoreFailure("store_login_refused")``."""
    path = directory / login.proof_file
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            data = file.read(_FILE_LIMIT + 1).strip()
    except OSError:
        raise StoreFailure("store_login_refused") from None
    is_open = bool(stat.S_IMODE(found.st_mode) & _OF_OTHERS) and login.is_private
    if not stat.S_ISREG(found.st_mode) or is_open or len(data) > _FILE_LIMIT or not _PROOF.fullmatch(data):
        raise StoreFailure("store_login_refused")
    return Secret(data)


def log_in(client: hvac.Client, login: VaultLogin, shown: Secret) -> Granted:
    """Log in with the proof ``shown``; a client without a token is enough. Raises what hvac does."""
    return METHODS[login.method](client, login, shown.reveal().decode("ascii"))


def _token(client: hvac.Client, _: VaultLogin, shown: str) -> Granted:
    client.token = shown
    data = client.auth.token.lookup_self()["data"]
    return Granted(Secret(shown), stated_seconds(data["ttl"]), bool(data.get("renewable")))


def _approle(client: hvac.Client, login: VaultLogin, shown: str) -> Granted:
    answer = client.auth.approle.login(login.role_id, shown, use_token=False, mount_point=login.mounted_at)
    return granted(answer["auth"])


def _kubernetes(client: hvac.Client, login: VaultLogin, shown: str) -> Granted:
    answer = client.auth.kubernetes.login(login.role, shown, use_token=False, mount_point=login.mounted_at)
    return granted(answer["auth"])


def _jwt(client: hvac.Client, login: VaultLogin, shown: str) -> Granted:
    return granted(client.auth.jwt.jwt_login(login.role, shown, use_token=False, path=login.mounted_at)["auth"])


def granted(auth: Mapping[str, Any]) -> Granted:
    """The ``auth`` part of an answer to a login or a renewal."""
    return Granted(Secret(auth["client_token"]), stated_seconds(auth["lease_duration"]), bool(auth["renewable"]))


METHODS: Final[Mapping[str, Callable[[hvac.Client, VaultLogin, str], Granted]]] = {
    "token": _token,
    "approle": _approle,
    "kubernetes": _kubernetes,
    "jwt": _jwt,
}
