"""What a Vault keeps and the sidecar only reads: kv version 1, and the users of a database.

They are shown to administrators, and every change is refused with who makes it and how.
"""

from __future__ import annotations

from typing import Final

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.values import field_secrets
from sidecar.adapters.credentials.vault.session import VaultSession
from sidecar.errors import Reason, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import micros, moment

UNVERSIONED: Final = "kv1"  # the version of every value in a kv version 1 mount
LEASED: Final = "lease"  # of a user that is made anew for each lease
_DATABASE: Final = "DATABASE"


class Fixed:
    """Refuses every change. ``how`` is who makes it, and how."""

    how: str

    def write(self, _secret: Secret, _terms: Terms, _expected: str | None) -> About:
        """Refused."""
        raise self._refusal()

    def amend(self, _terms: Terms, _expected: str) -> About:
        """Refused."""
        raise self._refusal()

    def delete(self, _expected: str) -> None:
        """Refused."""
        raise self._refusal()

    def _refusal(self) -> Refused:
        return Refused("read_only", self.how, [Reason("read_only", self.how)])


class Kv1Secret(Fixed):
    """A secret without versions: two who write it cannot be told apart, so the sidecar is not one of them."""

    how = (
        "A kv version 1 mount has no versions to change a value over: change it with `vault kv put`, "
        "or have the mount made version 2 with `vault kv enable-versioning`."
    )

    def __init__(self, session: VaultSession, mount: str, path: str, reference: Reference) -> None:
        self._session = session
        self._mount = mount
        self._path = path
        self._reference = reference

    def about(self) -> About:
        """That it is there. Raises ``StoreFailure``."""
        answer, _ = self._session.run(
            lambda client: client.secrets.kv.v1.read_secret(path=self._path, mount_point=self._mount)
        )
        if self._reference.field is not None and self._reference.field not in field_secrets(answer["data"]):
            raise StoreFailure("no_such_field")
        return About(reference=self._reference, kind=None, version=UNVERSIONED, changeable=False)


class DatabaseUser(Fixed):
    """A user of a database that Vault makes, or whose password it changes."""

    def __init__(self, session: VaultSession, mount: str, path: str, reference: Reference) -> None:
        self._session = session
        self._mount = mount
        self._kind, _, self._role = path.partition("/")
        self._reference = reference
        self.how = (
            f"Vault changes this password itself; to have it changed now: `vault write -f {mount}/rotate-role/ROLE`."
            if self._kind == "static-creds"
            else f"Vault makes a user for each lease; what it may do is its role's: `vault write {mount}/roles/ROLE`."
        )

    def about(self) -> About:
        """That it is there; no user is made to look. Raises ``StoreFailure``."""
        if self._kind == "static-creds":
            return self._static()
        if self._kind != "creds":
            raise StoreFailure("no_such_secret")
        self._look()
        return About(reference=self._reference, kind=_DATABASE, version=LEASED, changeable=False)

    def _look(self) -> None:
        """Raises ``StoreFailure("no_such_secret")`` where there is no such role, as far as that may be looked at."""
        try:
            self._session.run(lambda client: client.secrets.database.read_role(self._role, mount_point=self._mount))
        except StoreFailure as failure:
            if failure.code != "store_forbidden":  # to lend a role's users is another right than to read the role
                raise

    def _static(self) -> About:
        answer, _ = self._session.run(
            lambda client: client.secrets.database.get_static_credentials(self._role, mount_point=self._mount),
            InvalidRequest="no_such_secret",
        )
        rotated = str(answer["data"]["last_vault_rotation"])
        return About(
            reference=self._reference,
            kind=_DATABASE,
            version=rotation(rotated),
            updated=moment(micros(rotated)),
            changeable=False,
        )


def rotation(at: str) -> str:
    """The version of a password that Vault changed then."""
    return f"rotated-{at}"[:40]
