"""API keys (M26): made and shown once, listed, rotated, given an end, revoked.

A key is ``scp_<id>_<32 random bytes in base64url>``; the registry keeps the SHA-256 of the whole string, which for
256 bits of chance needs no slow hash. What a key was used for stands in evidence; here is only how often and when.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Final

from sidecar.errors import Refused
from sidecar.model.admin import KeyView, MadeKey, Removed
from sidecar.model.principal import Principal
from sidecar.model.registry import KEY, Row
from sidecar.operations.registered import ANY_VERSION, Register, Registered, declared, unknown
from sidecar.operations.tenant.principals import Principals, check_standing

_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 5
_MICROSECONDS: Final = 1_000_000


class Keys:
    """``now`` gives microseconds since the epoch; ``used`` how often a key was used, and when last."""

    def __init__(
        self,
        registered: Registered,
        register: Register,
        principals: Principals,
        now: Callable[[], int],
        used: Callable[[str], tuple[int, int | None]],
    ) -> None:
        self._registered = registered
        self._register = register
        self._principals = principals
        self._now = now
        self._used = used

    def listed(self, principal: str | None = None) -> list[KeyView]:
        """Every key, declared or made here, by id."""
        views = [
            self._view(key.id, name, None, None)
            for name, section in self._registered.declared.principals.items()
            for key in section.keys
        ]
        known = {view.id for view in views}
        views += [self._of(row) for row in self._registered.of(KEY) if row.id not in known]
        chosen = (view for view in views if principal is None or view.principal == principal)
        return sorted(chosen, key=lambda view: view.id)

    def shown(self, id: str) -> KeyView:
        """One key. Raises ``Refused("unknown_key")``."""
        for view in self.listed():
            if view.id == id:
                return view
        raise unknown(KEY, id)

    def roles_of(self, id: str) -> tuple[str, ...]:
        """The roles of whose key it is; none of a key that is not there."""
        return next((self._principals.roles_of(view.principal) for view in self.listed() if view.id == id), ())

    async def make(self, principal: str, expires: int | None, asker: Principal) -> MadeKey:
        """A new key of a principal; ``expires`` in microseconds since the epoch."""
        self._principals.shown(principal)
        check_standing(asker, self._principals.roles_of(principal))
        self._check_end(expires)
        id = secrets.token_hex(_ID_BYTES)
        plain = f"scp_{id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        document = {
            "principal": principal,
            "sha256": hashlib.sha256(plain.encode()).hexdigest(),
            "expires": expires,
        }
        changed = await self._register.put(KEY, id, lambda _: document, version=None, by=asker.id)
        return MadeKey(
            id=id,
            principal=principal,
            key=plain,
            expires=expires,
            version=changed.row.version,
            evidence_id=changed.evidence_id,
        )

    async def rotate(self, id: str, grace_seconds: int, asker: Principal) -> MadeKey:
        """A new key of the same principal; the old one goes on for ``grace_seconds``, so that no call fails."""
        row = self._changeable(id, asker)
        principal, expires = row.document["principal"], row.document["expires"]
        if expires is not None and expires <= self._now():
            raise Refused("wrong_status", f"The key {id!r} has ended. Make a new one of {principal!r} instead.")
        made = await self.make(principal, expires, asker)
        end = self._now() + grace_seconds * _MICROSECONDS
        await self._end(id, lambda before: end if before is None else min(end, before), asker)
        return made

    async def expire(self, id: str, at: int, asker: Principal) -> KeyView:
        """Let a key end at ``at``, microseconds since the epoch; a moment that has passed ends it now."""
        self._changeable(id, asker)
        await self._end(id, lambda _: at, asker)
        return self.shown(id)

    async def revoke(self, id: str, asker: Principal) -> Removed:
        """Take a key away: the next call with it is not known."""
        row = self._changeable(id, asker)
        changed = await self._register.remove(KEY, id, version=row.version, by=asker.id)
        return Removed(id=id, version=changed.row.version, evidence_id=changed.evidence_id)

    async def _end(self, id: str, at: Callable[[int | None], int], asker: Principal) -> None:
        """``at`` gives the new end from the one it has when it is changed: somebody may have been quicker."""

        def change(row: Row | None) -> dict[str, Any]:
            assert row is not None
            return row.document | {"expires": at(row.document["expires"])}

        await self._register.put(KEY, id, change, version=ANY_VERSION, by=asker.id, complete=False)

    def _changeable(self, id: str, asker: Principal) -> Row:
        view = self.shown(id)
        if view.declared:
            raise declared(KEY, id)
        check_standing(asker, self._principals.roles_of(view.principal))
        row = self._registered.row(KEY, id)
        assert row is not None
        return row

    def _check_end(self, expires: int | None) -> None:
        if expires is not None and expires <= self._now():
            raise Refused("invalid_payload", "expires must be in the future, in microseconds since the epoch.")

    def _of(self, row: Row) -> KeyView:
        return self._view(row.id, row.document["principal"], row.document["expires"], row)

    def _view(self, id: str, principal: str, expires: int | None, row: Row | None) -> KeyView:
        times, last = self._used(id)
        return KeyView(
            id=id,
            principal=principal,
            expires=expires,
            expired=expires is not None and expires <= self._now(),
            used=times,
            last_used=last,
            declared=row is None,
            version=row.version if row else None,
            by=row.by if row else None,
            at=row.at if row else None,
            problems=self._registered.problems(KEY, id),
        )
