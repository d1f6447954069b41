"""AWS Secrets Manager: versions, stages, rotation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.credentials.aws.store import SecretsManager
from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests import aws, vault
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver

pytestmark = pytest.mark.needs_moto


class Tenant:
    """A tenant with a secret ``crm`` of two fields, and its source."""

    def __init__(self, folder: Path) -> None:
        self.server = aws.server()
        self.name = vault.fresh_tenant()
        self.clock = HeldClock()
        self.section = self.server.section()
        self.store = SecretsManager(self.section, self.name, folder)
        self.source = CachedSource("aws", self.store, self.clock, RecordingObserver(), 30)
        self.first = self.server.put(f"{self.name}/crm", {"token": "value-12345678", "user": "somebody"})

    def reference(self, version: str | None = None, field: str | None = "token") -> Reference:
        return Reference("aws", f"{self.name}/crm", field, version)

    async def value(self, version: str | None = None, field: str | None = "token") -> str:
        return (await self.source.resolve(self.reference(version, field))).secret.reveal().decode()

    async def reason(self, reference: Reference) -> str:
        with pytest.raises(Unavailable) as refusal:
            await self.source.resolve(reference)
        return refusal.value.reasons[0].code


@pytest.fixture
async def tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tenant]:
    for name, value in aws.IDENTITY.items():
        monkeypatch.setenv(name, value)
    made = Tenant(tmp_path)
    yield made
    await made.source.close()


async def test_fields_come_with_the_versions_id(tenant: Tenant) -> None:
    credential = await tenant.source.resolve(tenant.reference())
    assert credential.secret == Secret("value-12345678")
    assert credential.version == tenant.first
    assert await tenant.value(field="user") == "somebody"
    assert await tenant.reason(tenant.reference(field="nothing")) == "no_such_field"
    assert await tenant.reason(tenant.reference(field=None)) == "no_such_field"


async def test_a_rotation_moves_the_stages_and_keeps_the_other_fields(tenant: Tenant) -> None:
    made = await asyncio.to_thread(
        tenant.store.write, tenant.reference(), Secret("rotated-12345678"), Terms(), tenant.first
    )
    assert await tenant.value() == "rotated-12345678"
    assert await tenant.value("AWSPREVIOUS") == "value-12345678"
    assert await tenant.value(made.version) == "rotated-12345678"
    assert await tenant.value(tenant.first) == "value-12345678"
    assert await tenant.value(field="user") == "somebody"


async def test_a_staged_version_is_named_before_it_is_current(tenant: Tenant) -> None:
    tenant.server.client.put_secret_value(
        SecretId=f"{tenant.name}/crm", SecretString='{"token": "pending-12345678"}', VersionStages=["AWSPENDING"]
    )
    assert await tenant.value() == "value-12345678"
    assert await tenant.value("AWSPENDING") == "pending-12345678"
    assert await tenant.reason(tenant.reference("NOSUCHSTAGE")) == "no_such_version"


async def test_who_rotates_second_is_told(tenant: Tenant) -> None:
    await asyncio.to_thread(tenant.store.write, tenant.reference(), Secret("rotated-12345678"), Terms(), tenant.first)
    with pytest.raises(Refused) as late:
        await asyncio.to_thread(
            tenant.store.write, tenant.reference(), Secret("too-late-12345678"), Terms(), tenant.first
        )
    assert late.value.code == "conflict"
    assert await tenant.value() == "rotated-12345678"


async def test_a_secret_of_bytes_is_no_text(tenant: Tenant) -> None:
    tenant.server.client.create_secret(Name=f"{tenant.name}/bytes", SecretBinary=b"\x00\x01")
    assert await tenant.reason(Reference("aws", f"{tenant.name}/bytes")) == "unusable_secret"


async def test_a_secret_that_is_being_deleted_is_gone(tenant: Tenant) -> None:
    tenant.server.client.delete_secret(SecretId=f"{tenant.name}/crm", RecoveryWindowInDays=7)
    assert await tenant.reason(tenant.reference()) == "no_such_secret"


async def test_inv_5_debug_logs_show_no_secret(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert await tenant.value() == "value-12345678"
        await asyncio.to_thread(
            tenant.store.write, tenant.reference(), Secret("rotated-12345678"), Terms(), tenant.first
        )
    assert caplog.records
    assert "12345678" not in caplog.text
    assert aws.IDENTITY["AWS_SECRET_ACCESS_KEY"] not in caplog.text


async def test_without_an_identity_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in aws.IDENTITY:
        monkeypatch.delenv(name, raising=False)
    store = SecretsManager(aws.server().section(), "acme", tmp_path)
    with pytest.raises(StoreFailure) as failure:
        await asyncio.to_thread(store.fetch, Reference("aws", "acme/crm"))
    assert failure.value.code == "store_login_refused"
    store.close()
