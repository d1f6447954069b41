"""What a tenant may name in a Vault: the paths of the configuration, and all that is listed below them."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.adapters.credentials.remote.store import LISTED, StoreFailure
from sidecar.adapters.credentials.vault.session import VaultSession
from sidecar.config.remotes import VaultSection

_DEEPEST = 16  # folders; paths of references are bounded, too


def places(session: VaultSession, section: VaultSection, tenant: str) -> list[str]:
    """Locators that could hold a secret, in order: each configured path, and what is below it.

    Raises ``StoreFailure("too_many")`` beyond ``LISTED``, and ``StoreFailure("store_forbidden")`` where a path may be
    read but not be listed: a list with holes would look like a whole one.
    """
    found: set[str] = set()
    for root in section.roots(tenant):
        mount = section.mount_of(root) or (root if root in section.mounts else None)
        if mount is None:
            continue
        if section.mounts[mount] == "database":
            found.add(root)
            continue
        below = root.removeprefix(mount).strip("/")
        if below:
            found.add(root)
        for path in _listed(session, mount, section.mounts[mount], below, _DEEPEST):
            found.add(f"{mount}/{path}")
            if len(found) > LISTED:
                raise StoreFailure("too_many")
    return sorted(found)


def _listed(session: VaultSession, mount: str, kind: str, folder: str, depth: int) -> Iterator[str]:
    for name in _names(session, f"{mount}/metadata/{folder}" if kind == "kv2" else f"{mount}/{folder}"):
        path = f"{folder}/{name}" if folder else name
        if not name.endswith("/"):
            yield path
        elif depth:
            yield from _listed(session, mount, kind, path.rstrip("/"), depth - 1)


def _names(session: VaultSession, folder: str) -> list[str]:
    try:
        answer, _ = session.run(lambda client: client.adapter.request("list", f"/v1/{folder.rstrip('/')}"))
    except StoreFailure as failure:
        if failure.code == "no_such_secret":  # there is nothing below
            return []
        raise
    return list(map(str, answer["data"]["keys"]))
