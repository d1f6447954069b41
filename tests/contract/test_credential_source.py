"""What every credential source promises: the value that is there now, or a refusal that tells nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.adapters.callers.oauth import OAuthSource
from sidecar.adapters.credentials.aws.store import SecretsManager
from sidecar.adapters.credentials.environment import EnvironmentSource
from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.adapters.credentials.vault.store import VaultStore
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.ports import CredentialSource
from sidecar.rules.oauth import ClientGrant
from tests import aws, vault
from tests.fakes.clock import HeldClock
from tests.fakes.credentials import HeldCredentials
from tests.fakes.observer import RecordingObserver

ID, OTHER = "GITHUB", "GITLAB"


class Subject(NamedTuple):
    """A source, how its references are written, and how its values come and go.

    Of a source that keeps what it read for a stated time, ``put`` and ``delete`` let that time pass as well.
    """

    source: CredentialSource
    reference: Callable[[str], Reference]
    put: Callable[[str, str], object]
    delete: Callable[[str], object]

    async def resolve(self, name: str) -> Credential:
        return await self.source.resolve(self.reference(name))


def _sealed(directory: Path) -> Subject:
    key_file = directory / "master.key"
    master_key.create(key_file)
    store = SealedStore(directory / "store", key_file)
    writer = SealedStore(directory / "store", key_file)  # the command line is another process

    def put(name: str, value: str) -> None:
        writer.put(name.lower(), Secret(value))

    return Subject(store, _named("encrypted"), put, lambda name: writer.delete(name.lower()))


def _environment(_directory: Path) -> Subject:
    environ: dict[str, str] = {}
    source = EnvironmentSource(environ, allowed=True)
    return Subject(source, lambda name: Reference("env", name), environ.__setitem__, environ.__delitem__)


def _held(_directory: Path) -> Subject:
    fake = HeldCredentials()
    return Subject(
        fake,
        _named("encrypted"),
        lambda name, value: fake.put(name.lower(), value),
        lambda name: fake.delete(name.lower()),
    )


def _vault_kv2(directory: Path) -> Subject:
    server, tenant, clock = vault.server(), vault.fresh_tenant(), HeldClock()
    section = server.section(server.approle(tenant, directory))
    store = VaultStore(section, tenant, directory, time.monotonic)

    def then_passing(change: Callable[[], object]) -> None:
        change()
        clock.advance(section.max_age_seconds)

    return Subject(
        CachedSource("vault", store, clock, RecordingObserver(), 30),
        lambda name: Reference("vault", f"secret/{tenant}/{name.lower()}", "value"),
        lambda name, value: then_passing(lambda: server.put(tenant, name.lower(), value=value)),
        lambda name: then_passing(lambda: server.delete(tenant, name.lower())),
    )


def _vault_kv1(directory: Path) -> Subject:
    server, tenant, clock = vault.server(), vault.fresh_tenant(), HeldClock()
    section = server.section(server.token(tenant, directory))
    store = VaultStore(section, tenant, directory, time.monotonic)

    def put(name: str, value: str) -> None:
        server.put_v1(tenant, name.lower(), value=value)
        clock.advance(section.max_age_seconds)

    def delete(name: str) -> None:
        server.root.secrets.kv.v1.delete_secret(f"{tenant}/{name.lower()}", mount_point="kv")
        clock.advance(section.max_age_seconds)

    source = CachedSource("vault", store, clock, RecordingObserver(), 30)
    return Subject(source, lambda name: Reference("vault", f"kv/{tenant}/{name.lower()}", "value"), put, delete)


def _aws(directory: Path) -> Subject:
    server, tenant, clock = aws.server(), vault.fresh_tenant(), HeldClock()
    section = server.section()

    def then_passing(change: Callable[[], object]) -> None:
        change()
        clock.advance(section.max_age_seconds)

    return Subject(
        CachedSource("aws", SecretsManager(section, tenant, directory), clock, RecordingObserver(), 30),
        lambda name: Reference("aws", f"{tenant}/{name.lower()}"),
        lambda name, value: then_passing(lambda: server.put(f"{tenant}/{name.lower()}", value)),
        lambda name: then_passing(lambda: server.delete(f"{tenant}/{name.lower()}")),
    )


def _oauth(_directory: Path) -> Subject:
    """The values are access tokens; the endpoint gives each client what was put for it."""
    tokens: dict[str, str] = {}
    clock, secrets = HeldClock(), HeldCredentials()
    secrets.put("client", "client-secret")

    async def locate(host: str, port: int) -> tuple[str, ...]:
        return ("93.184.216.34",)

    async def ask(
        grant: ClientGrant, addresses: tuple[str, ...], headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, bytes]:
        if grant.client_id not in tokens:
            return 401, b'{"error": "invalid_client"}'
        answer = {"access_token": tokens[grant.client_id], "token_type": "bearer", "expires_in": 60}
        return 200, json.dumps(answer).encode()

    def then_passing(change: Callable[[], object]) -> None:
        change()
        clock.advance(60)

    source = OAuthSource(locate, clock, RecordingObserver(), ask)
    source.configure({name: _grant(name) for name in (ID.lower(), OTHER.lower())}, {"encrypted": secrets})
    return Subject(
        source,
        _named("oauth"),
        lambda name, value: then_passing(lambda: tokens.__setitem__(name.lower(), value)),
        lambda name: then_passing(lambda: tokens.__delitem__(name.lower())),
    )


def _grant(client: str) -> ClientGrant:
    return ClientGrant(
        reference=Reference("encrypted", "client"),
        host="login.example",
        port=443,
        path="/token",
        ca_file=None,
        client_id=client,
        scopes=(),
        audience=None,
        in_body=False,
    )


def _named(scheme: str) -> Callable[[str], Reference]:
    return lambda name: Reference(scheme, name.lower())


_NEEDS_VAULT = pytest.mark.needs_vault
SUBJECTS = [
    _sealed,
    _environment,
    _held,
    _oauth,
    pytest.param(_vault_kv2, marks=_NEEDS_VAULT),
    pytest.param(_vault_kv1, marks=_NEEDS_VAULT),
    pytest.param(_aws, marks=pytest.mark.needs_moto),
]


@pytest.fixture(params=SUBJECTS)
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    for name, value in aws.IDENTITY.items():
        monkeypatch.setenv(name, value)
    made: Subject = request.param(tmp_path)
    yield made
    if isinstance(made.source, CachedSource):
        await made.source.close()


async def _refusal(subject: Subject, name: str) -> Unavailable:
    with pytest.raises(Unavailable) as refusal:
        await subject.resolve(name)
    assert refusal.value.code == "credential_unavailable"
    return refusal.value


async def test_a_value_comes_with_its_version(subject: Subject) -> None:
    subject.put(ID, "value-12345678")
    subject.put(OTHER, "other-12345678")
    for _ in range(3):
        credential = await subject.resolve(ID)
        assert credential.secret == Secret("value-12345678")
        assert credential.version
        assert (await subject.resolve(OTHER)).secret == Secret("other-12345678")


async def test_what_is_not_there_is_refused(subject: Subject) -> None:
    await _refusal(subject, ID)
    subject.put(ID, "value-12345678")
    await _refusal(subject, OTHER)


async def test_a103_a_rotated_value_holds_from_the_next_call_on(subject: Subject) -> None:
    for number in range(20):
        subject.put(ID, f"value-{number:08}")
        assert (await subject.resolve(ID)).secret == Secret(f"value-{number:08}")


async def test_a103_a_deleted_value_is_refused_from_the_next_call_on(subject: Subject) -> None:
    subject.put(ID, "value-12345678")
    await subject.resolve(ID)
    subject.delete(ID)
    await _refusal(subject, ID)


async def test_another_scheme_is_refused_even_for_a_known_name(subject: Subject) -> None:
    subject.put(ID, "value-12345678")
    await subject.resolve(ID)
    known = subject.reference(ID)
    for scheme in {"env", "encrypted", "vault", "aws", "oauth"} - {known.scheme}:
        for name in (ID, ID.lower(), known.locator):
            with pytest.raises(Unavailable):
                await subject.source.resolve(Reference(scheme, name, known.field))


async def test_many_at_once_get_the_same(subject: Subject) -> None:
    subject.put(ID, "value-12345678")
    found = await asyncio.gather(*(subject.resolve(ID) for _ in range(50)))
    assert all(credential.secret == Secret("value-12345678") for credential in found)
    assert len({credential.version for credential in found}) == 1


async def test_inv_5_neither_a_credential_nor_a_refusal_shows_a_value(subject: Subject) -> None:
    subject.put(ID, "canary-12345678")
    assert "canary" not in repr(await subject.resolve(ID))
    assert "canary" not in repr(subject.source)
    refusal = await _refusal(subject, OTHER)
    assert "canary" not in f"{refusal} {refusal!r} {refusal.__cause__!r}"
