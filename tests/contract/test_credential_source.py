"""What every credential source promises: the value that is there now, or a refusal that tells nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.adapters.credentials import master_key
from sidecar.adapters.credentials.environment import EnvironmentSource
from sidecar.adapters.credentials.sealed import SealedStore
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.ports import CredentialSource
from tests.fakes.credentials import HeldCredentials

ID, OTHER = "GITHUB", "GITLAB"


class Subject(NamedTuple):
    """A source, its scheme, and how its values come and go."""

    source: CredentialSource
    scheme: str
    put: Callable[[str, str], None]
    delete: Callable[[str], None]

    async def resolve(self, name: str) -> Credential:
        return await self.source.resolve(Reference(self.scheme, name if self.scheme == "env" else name.lower()))


def _sealed(directory: Path) -> Subject:
    key_file = directory / "master.key"
    master_key.create(key_file)
    store = SealedStore(directory / "store", key_file)
    writer = SealedStore(directory / "store", key_file)  # the command line is another process

    def put(name: str, value: str) -> None:
        writer.put(name.lower(), Secret(value))

    return Subject(store, "encrypted", put, lambda name: writer.delete(name.lower()))


def _environment(_directory: Path) -> Subject:
    environ: dict[str, str] = {}
    return Subject(EnvironmentSource(environ, allowed=True), "env", environ.__setitem__, environ.__delitem__)


def _held(_directory: Path) -> Subject:
    fake = HeldCredentials()
    return Subject(
        fake, "encrypted", lambda name, value: fake.put(name.lower(), value), lambda name: fake.delete(name.lower())
    )


@pytest.fixture(params=[_sealed, _environment, _held])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    made: Subject = request.param(tmp_path)
    return made


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
    for scheme in {"env", "encrypted", "vault"} - {subject.scheme}:
        for name in (ID, ID.lower()):
            with pytest.raises(Unavailable):
                await subject.source.resolve(Reference(scheme, name))


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
