"""What the tests against a real Vault share: a source for a tenant of its own, and the reasons of its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.vault.store import VaultStore
from sidecar.config.remotes import VaultLogin, VaultSection
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from tests import vault
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver

VALUE = "value-6c0fd0e7a1"


class Tenant:
    """A tenant with a secret ``crm`` and its sidecar's source, whose clock stands still."""

    def __init__(self, folder: Path, login: str = "approle", **settings: Any) -> None:
        self.server = vault.server()
        self.name = vault.fresh_tenant()
        self.folder = folder
        self.clock = HeldClock()
        self.observer = RecordingObserver()
        self.server.put(self.name, "crm", token=VALUE, user="somebody")
        made = {"approle": self.server.approle, "token": self.server.token}[login](self.name, folder)
        self.open(made, **settings)

    def open(self, login: VaultLogin, **settings: Any) -> None:
        """A source that logs in so."""
        self.section: VaultSection = self.server.section(login, **settings)
        self.store = VaultStore(self.section, self.name, self.folder, self.clock.monotonic)
        self.source = CachedSource("vault", self.store, self.clock, self.observer, self.section.timeout_seconds)

    def reference(self, name: str = "crm", field: str = "token", version: str | None = None) -> Reference:
        return Reference("vault", f"secret/{self.name}/{name}", field, version)

    async def resolve(self, name: str = "crm", field: str = "token", version: str | None = None) -> Credential:
        return await self.source.resolve(self.reference(name, field, version))

    async def value(self, name: str = "crm", field: str = "token") -> str:
        return (await self.resolve(name, field)).secret.reveal().decode()

    async def reason(self, reference: Reference | None = None) -> str:
        """The code of the reason for which the reference does not resolve."""
        with pytest.raises(Unavailable) as refusal:
            await self.source.resolve(reference or self.reference())
        assert refusal.value.code == "credential_unavailable"
        assert refusal.value.__cause__ is None
        return refusal.value.reasons[0].code

    def asked(self, name: str = "crm") -> int:
        """How often the server was asked for a secret."""
        return self.server.asked(f"secret/data/{self.name}/{name}", "read")
