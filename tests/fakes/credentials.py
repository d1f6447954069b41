"""A credential source and a credential store for tests of what stands above them: values in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import About, Credential, Reference, Terms
from sidecar.model.secret import SHORTEST, Secret
from sidecar.ports import Clock
from sidecar.rules.credential_terms import check_change, check_version


class HeldCredentials:
    """A ``CredentialSource`` of one scheme; ``resolved`` is every reference asked for, in order."""

    def __init__(self, scheme: str = "encrypted") -> None:
        self._scheme = scheme
        self._values: dict[str, tuple[str, int]] = {}
        self.resolved: list[Reference] = []

    def put(self, name: str, value: str) -> None:
        """Hold a value under a name; the version grows by one."""
        self._values[name] = (value, self._values.get(name, ("", 0))[1] + 1)

    def delete(self, name: str) -> None:
        """Forget a value."""
        del self._values[name]

    async def resolve(self, reference: Reference) -> Credential:
        self.resolved.append(reference)
        value, version = self._values.get(reference.locator, ("", 0))
        if reference.scheme != self._scheme or len(value) < SHORTEST:
            raise Unavailable("credential_unavailable", "the credential could not be resolved; nothing was sent")
        return Credential(Secret(value), str(version))


class HeldStore:
    """A ``CredentialStore`` and the ``CredentialSource`` over it; only locators that begin with ``own`` are ours."""

    def __init__(self, clock: Clock, scheme: str = "encrypted", own: str = "") -> None:
        self._clock = clock
        self._scheme = scheme
        self._own = own
        self._held: dict[str, tuple[About, Secret]] = {}
        self.broken: Unavailable | None = None  # raised by everything while it is set

    def version(self, locator: str) -> str | None:
        """Which version is there now."""
        return self._held[locator][0].version if locator in self._held else None

    async def resolve(self, reference: Reference) -> Credential:
        about, secret = self._held.get(reference.locator, (None, None))
        if reference.scheme != self._scheme or about is None or secret is None or self.broken is not None:
            raise Unavailable("credential_unavailable", "the credential could not be resolved; nothing was sent")
        return Credential(secret, about.version, about.kind, about.expires)

    async def about(self, reference: Reference) -> About:
        return self._at(reference)[0]

    async def list(self) -> Sequence[About]:
        self._check(None)
        return [about for _, (about, _) in sorted(self._held.items())]

    async def store(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        self._check(reference)
        kept = check_change(reference, secret, terms, self._clock.now())
        before = self._held[reference.locator][0] if reference.locator in self._held else None
        check_version(before.version if before else None, expected)
        now = datetime.fromtimestamp(self._clock.now() // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = About(
            reference=reference,
            kind=kept.kind or "API_KEY",
            version=str(int(before.version) + 1) if before else "1",
            created=before.created if before else now,
            updated=now,
            expires=kept.expires,
            rotate_days=kept.rotate_days,
        )
        self._held[reference.locator] = (about, secret)
        return about

    async def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        about, secret = self._at(reference)
        kept = check_change(reference, secret, terms, self._clock.now())
        check_version(about.version, expected)
        fresh = replace(about, kind=kept.kind, expires=kept.expires, rotate_days=kept.rotate_days)
        self._held[reference.locator] = (fresh, secret)
        return fresh

    async def delete(self, reference: Reference, expected: str) -> None:
        check_change(reference, None, Terms(), self._clock.now())
        check_version(self._at(reference)[0].version, expected)
        del self._held[reference.locator]

    def _at(self, reference: Reference) -> tuple[About, Secret]:
        self._check(reference)
        if reference.locator not in self._held:
            raise Refused("unknown_credential", "There is no such credential.")
        return self._held[reference.locator]

    def _check(self, reference: Reference | None) -> None:
        if self.broken is not None:
            raise self.broken
        if reference is None:
            return
        if reference.scheme != self._scheme:
            raise Refused("invalid_payload", f"This store keeps {self._scheme}:// credentials.")
        if not reference.locator.startswith(self._own):
            raise Refused("tenant_mismatch", "The reference names a path that this tenant may not use.")
