"""``vault://path#field``: HashiCorp Vault and OpenBao, by what is mounted where.

====================================  ===================================================================
mount                                 what a reference names
====================================  ===================================================================
``kv2`` (``secret/acme/crm#token``)   the newest version, or ``@3``; its version is the number
``kv1`` (``kv/acme/crm#token``)       the value; kv version 1 has no versions
``database`` (``creds/ROLE``)         a user of its own, lent until its lease ends; ``#username``, ``#password``
``database`` (``static-creds/ROLE``)  the user whose password the server rotates; until its next rotation
====================================  ===================================================================

All fields of one path come with one request, and from one lease. A path outside the tenant's own is refused before
anything is asked (C06).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from sidecar.adapters.credentials.remote.store import Fetched, Loan, StoreFailure
from sidecar.adapters.credentials.remote.values import field_secrets, stated_seconds
from sidecar.adapters.credentials.vault.fixed import UNVERSIONED, DatabaseUser, Kv1Secret, rotation
from sidecar.adapters.credentials.vault.kv2 import Kv2Secret, read_kv2, terms_of
from sidecar.adapters.credentials.vault.listing import places
from sidecar.adapters.credentials.vault.session import Login, VaultSession
from sidecar.config.remotes import VaultSection
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret

# Of a password whose rotation is due: it is good until the server gets to it, which looks every few seconds.
_DUE_SECONDS: Final = 1.0
_LEASE_SHOWN: Final = 8  # characters of a lease's id that tell one from another in evidence


class _Kept(Protocol):
    """One place, to administrators."""

    def about(self) -> About: ...

    def write(self, secret: Secret, terms: Terms, expected: str | None, /) -> About: ...

    def amend(self, terms: Terms, expected: str, /) -> About: ...

    def delete(self, expected: str, /) -> None: ...


_KEPT: Final[Mapping[str, Callable[[VaultSession, str, str, Reference], _Kept]]] = {
    "kv1": Kv1Secret,
    "kv2": Kv2Secret,
    "database": DatabaseUser,
}


class VaultStore:
    """A ``KeptStore``. ``monotonic`` gives seconds that never go back."""

    def __init__(self, section: VaultSection, tenant: str, directory: Path, monotonic: Callable[[], float]) -> None:
        self._section = section
        self._tenant = tenant
        self._session = VaultSession(section, directory, monotonic)
        self._kinds: Mapping[str, Callable[[str, str, Reference], Fetched]] = {
            "kv1": self._kv1,
            "kv2": self._kv2,
            "database": self._database,
        }

    def fetch(self, reference: Reference) -> Fetched:
        """What is at the reference's path now. Raises ``StoreFailure``."""
        mount, rest = self._placed(reference)
        kind = self._section.mounts[mount]
        if reference.version is not None and kind != "kv2":
            raise StoreFailure("no_such_version")
        return self._kinds[kind](mount, rest, reference)

    def renew(self, loan: Loan) -> float:
        """The seconds that the loan's lease goes on for; 0 where another login than the present one holds it."""
        if loan.login != self._session.number:
            return 0.0
        try:
            answer, login = self._session.run(
                lambda client: client.sys.renew_lease(loan.id), InvalidRequest="lease_lost", InvalidPath="lease_lost"
            )
        except StoreFailure as failure:
            if failure.code == "store_forbidden":  # it was lent, and may only not be renewed
                return 0.0
            raise
        if login.number != loan.login:
            return 0.0
        return min(stated_seconds(answer["lease_duration"]), self._session.left(login))

    def give_back(self, loan: Loan) -> None:
        """Revoke the lease: a database user is dropped. Raises ``StoreFailure``."""
        self._session.run(
            lambda client: client.sys.revoke_lease(loan.id), InvalidRequest="lease_lost", InvalidPath="lease_lost"
        )

    def about(self, reference: Reference) -> About:
        """What may be shown of a place."""
        return self._kept(reference).about()

    def list(self) -> Sequence[About]:
        """What may be shown of every place that the tenant may name."""
        rows, roots = [], self._section.roots(self._tenant)
        for locator in places(self._session, self._section, self._tenant):
            try:
                rows.append(self.about(Reference("vault", locator)))
            except StoreFailure as failure:
                # A folder, or a secret whose value was deleted; to look below a path is not the right to read it.
                if failure.code != "no_such_secret" and not (failure.code == "store_forbidden" and locator in roots):
                    raise
        return rows

    def write(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value over version ``expected``, or where there is none."""
        return self._kept(reference).write(secret, terms, expected)

    def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give a value other terms."""
        return self._kept(reference).amend(terms, expected)

    def delete(self, reference: Reference, expected: str) -> None:
        """Delete a secret, or one of its fields."""
        self._kept(reference).delete(expected)

    def close(self) -> None:
        """Log out. Raises ``StoreFailure``."""
        self._session.close()

    def _kept(self, reference: Reference) -> _Kept:
        mount, path = self._placed(reference)
        return _KEPT[self._section.mounts[mount]](self._session, mount, path, reference)

    def _placed(self, reference: Reference) -> tuple[str, str]:
        """Mount and path inside it. Raises ``StoreFailure`` for a path that is not this tenant's, or mounted."""
        locator = reference.locator
        if reference.scheme != "vault" or not self._section.allows(locator, self._tenant):
            raise StoreFailure("other_tenant")
        mount = self._section.mount_of(locator)
        if mount is None:
            raise StoreFailure("no_such_secret")
        return mount, locator.removeprefix(f"{mount}/")

    def _kv2(self, mount: str, path: str, reference: Reference) -> Fetched:
        missing = "no_such_secret" if reference.version is None else "no_such_version"
        answer, _ = self._session.run(
            lambda client: read_kv2(client, mount, path, reference.version), InvalidPath=missing
        )
        data = answer["data"]
        metadata = data["metadata"]
        number = int(metadata["version"])
        terms = terms_of(metadata.get("custom_metadata") or {}, number, str(metadata["created_time"]))
        seconds = self._section.max_age_seconds
        return Fetched(field_secrets(data["data"]), str(number), seconds, None, terms.kind, terms.expires)

    def _kv1(self, mount: str, path: str, _: Reference) -> Fetched:
        answer, _login = self._session.run(
            lambda client: client.secrets.kv.v1.read_secret(path=path, mount_point=mount)
        )
        return Fetched(field_secrets(answer["data"]), UNVERSIONED, self._section.max_age_seconds)

    def _database(self, mount: str, path: str, _: Reference) -> Fetched:
        kind, _slash, role = path.partition("/")
        match kind:
            case "creds":
                answer, login = self._session.run(
                    lambda client: client.secrets.database.generate_credentials(role, mount_point=mount),
                    InvalidRequest="no_such_secret",
                )
                return self._lent(answer, login)
            case "static-creds":
                answer, _login = self._session.run(
                    lambda client: client.secrets.database.get_static_credentials(role, mount_point=mount),
                    InvalidRequest="no_such_secret",
                )
                data = answer["data"]
                seconds = min(max(stated_seconds(data["ttl"]), _DUE_SECONDS), self._section.max_age_seconds)
                return Fetched(field_secrets(data), rotation(str(data["last_vault_rotation"])), seconds)
        raise StoreFailure("no_such_secret")

    def _lent(self, answer: Mapping[str, Any], login: Login) -> Fetched:
        """A lease ends with the login it was taken under."""
        lease = str(answer["lease_id"])
        seconds = min(stated_seconds(answer["lease_duration"]), self._session.left(login))
        version = f"lease-{lease.rpartition('/')[2][:_LEASE_SHOWN]}"
        return Fetched(field_secrets(answer["data"]), version, seconds, Loan(lease, login.number))
