"""What every store of credentials promises its administrators, and what holds for the calls that use it meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sidecar.adapters.clock import SystemClock
from sidecar.adapters.credentials.aws.store import SecretsManager
from sidecar.adapters.credentials.environment import EnvironmentStore
from sidecar.adapters.credentials.remote.administration import RemoteCredentials
from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.administration import SealedCredentials
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.adapters.credentials.vault.store import VaultStore
from sidecar.errors import Refused, SidecarError, Unavailable
from sidecar.model.credential import About, Credential, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.ports import CredentialSource, CredentialStore
from sidecar.rules.credential_terms import DAY, VALUE_LIMIT
from tests import aws, vault
from tests.fakes.certificates import Authority
from tests.fakes.credentials import HeldStore
from tests.fakes.observer import RecordingObserver

CANARY = "canary-8f1d07a25c"
VALUE = Secret(CANARY)
NEW = Secret("rotated-51e09ab3")
ALL = Terms(kind="BEARER_TOKEN", expires=4_102_444_800_000_000, rotate_days=90)  # 2100-01-01
CHANGES = ("store", "rotate", "amend", "delete")


class Subject(NamedTuple):
    """A store, the source that calls resolve by, how a name is referred to here, and another tenant's place."""

    store: CredentialStore
    source: CredentialSource
    reference: Callable[[str], Reference]
    stranger: Reference | None = None

    async def resolve(self, name: str) -> Credential:
        return await self.source.resolve(self.reference(name))

    async def value(self, name: str = "crm") -> str:
        return (await self.resolve(name)).secret.reveal().decode()

    async def put(self, name: str = "crm", secret: Secret = VALUE, terms: Terms = ALL) -> About:
        return await self.store.store(self.reference(name), secret, terms, None)

    async def change(self, verb: str, reference: Reference, version: str) -> None:
        match verb:
            case "store":
                await self.store.store(reference, NEW, Terms(), None)
            case "rotate":
                await self.store.store(reference, NEW, Terms(), version)
            case "amend":
                await self.store.amend(reference, Terms(), version)
            case "delete":
                await self.store.delete(reference, version)


def _sealed(folder: Path) -> Subject:
    master_key.create(folder / "master.key")
    places = (folder / "store", folder / "master.key")
    return Subject(SealedCredentials(*places), SealedStore(*places), lambda name: Reference("encrypted", name))


def _held(_folder: Path) -> Subject:
    fake = HeldStore(SystemClock(), own="own-")
    return Subject(
        fake, fake, lambda name: Reference("encrypted", f"own-{name}"), Reference("encrypted", "other-crm")
    )


def _vault(folder: Path) -> Subject:
    server, tenant = vault.server(), vault.fresh_tenant()
    section = server.section(server.approle(tenant, folder), paths=("secret/{tenant}",))
    store = VaultStore(section, tenant, folder, time.monotonic)
    both = RemoteCredentials("vault", store, SystemClock(), RecordingObserver(), 30)
    stranger = Reference("vault", f"secret/{vault.fresh_tenant()}/crm", "token")
    return Subject(both, both, lambda name: Reference("vault", f"secret/{tenant}/{name}", "token"), stranger)


def _aws(folder: Path, field: str | None = None) -> Subject:
    server, tenant = aws.server(), vault.fresh_tenant()
    store = SecretsManager(server.section(), tenant, folder)
    both = RemoteCredentials("aws", store, SystemClock(), RecordingObserver(), 30)
    stranger = Reference("aws", f"{vault.fresh_tenant()}/crm", field)
    return Subject(both, both, lambda name: Reference("aws", f"{tenant}/{name}", field), stranger)


def _aws_field(folder: Path) -> Subject:
    return _aws(folder, "token")


_NEEDS_VAULT = pytest.mark.needs_vault
_NEEDS_MOTO = pytest.mark.needs_moto
KEEPING = [
    _sealed,
    _held,
    pytest.param(_vault, marks=_NEEDS_VAULT),
    pytest.param(_aws, marks=_NEEDS_MOTO),
    pytest.param(_aws_field, marks=_NEEDS_MOTO),
]


def _kv1(folder: Path) -> Subject:
    server, tenant = vault.server(), vault.fresh_tenant()
    section = server.section(server.token(tenant, folder), paths=("kv/{tenant}",))
    store = VaultStore(section, tenant, folder, time.monotonic)
    both = RemoteCredentials("vault", store, SystemClock(), RecordingObserver(), 30)
    server.put_v1(tenant, "crm", token=CANARY)
    stranger = Reference("vault", f"kv/{vault.fresh_tenant()}/crm", "token")
    return Subject(both, both, lambda name: Reference("vault", f"kv/{tenant}/{name}", "token"), stranger)


def _environment(_folder: Path) -> Subject:
    environ = {"CRM": CANARY, "OTHER": CANARY}
    store = EnvironmentStore(environ, ["CRM", "UNSET"])
    return Subject(store, None, lambda name: Reference("env", name.upper()))  # type: ignore[arg-type]  # not resolved


READ_ONLY = [_environment, pytest.param(_kv1, marks=_NEEDS_VAULT)]


async def _made(make: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Subject]:
    for name, value in aws.IDENTITY.items():
        monkeypatch.setenv(name, value)
    subject: Subject = make(folder)
    yield subject
    if isinstance(subject.source, CachedSource):
        await subject.source.close()


@pytest.fixture(params=KEEPING)
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    async for made in _made(request.param, tmp_path, monkeypatch):
        yield made


@pytest.fixture(params=READ_ONLY)
async def fixed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Subject]:
    async for made in _made(request.param, tmp_path, monkeypatch):
        yield made


async def _code(work: Any) -> str:
    with pytest.raises(SidecarError) as refused:
        await work
    assert CANARY not in f"{refused.value!r} {refused.value.reasons} {refused.value.__cause__!r}"
    return refused.value.code


async def _gone(subject: Subject, name: str = "crm") -> None:
    with pytest.raises(Unavailable) as refused:
        await subject.resolve(name)
    assert refused.value.code == "credential_unavailable"


async def test_what_was_stored_is_shown_and_resolves(subject: Subject) -> None:
    stored = await subject.put()
    shown = await subject.store.about(subject.reference("crm"))
    assert (shown.reference, shown.version) == (subject.reference("crm"), stored.version)
    for about in (stored, shown):
        assert (about.kind, about.expires, about.rotate_days) == (ALL.kind, ALL.expires, ALL.rotate_days)
        assert (about.state, about.changeable) == ("ok", True)
        assert about.created is not None
        assert about.updated is not None
        assert about.created <= about.updated
    found = await subject.resolve("crm")
    assert (found.secret, found.version) == (VALUE, stored.version)
    assert (found.kind, found.expires) == (ALL.kind, ALL.expires)


async def test_the_list_has_everything_of_the_tenants_by_reference_and_no_value(subject: Subject) -> None:
    assert list(await subject.store.list()) == []
    await subject.put("crm")
    await subject.put("billing", terms=Terms(rotate_days=7))
    rows = await subject.store.list()
    assert [row.reference.locator for row in rows] == [subject.reference(name).locator for name in ("billing", "crm")]
    assert [(row.rotate_days, row.expires) for row in rows] == [(7, None), (90, ALL.expires)]
    assert {row.reference.scheme for row in rows} == {subject.reference("crm").scheme}
    assert CANARY not in repr(rows)


async def test_a_value_is_never_stored_where_there_is_one(subject: Subject) -> None:
    await subject.put()
    assert await _code(subject.put(secret=NEW, terms=Terms())) == "conflict"
    assert await subject.value() == CANARY
    assert (await subject.store.about(subject.reference("crm"))).expires == ALL.expires


async def test_a103_a_new_value_is_used_by_the_next_call(subject: Subject) -> None:
    version = (await subject.put()).version
    versions = [version]
    for number in range(5):
        assert await subject.value() == (CANARY if number == 0 else f"rotated-{number - 1}")
        fresh = Secret(f"rotated-{number}")
        about = await subject.store.store(subject.reference("crm"), fresh, Terms(kind="API_KEY"), versions[-1])
        versions.append(about.version)
        found = await subject.resolve("crm")
        assert (found.secret, found.version, found.kind) == (fresh, about.version, "API_KEY")
    assert len(set(versions)) == 6


async def test_the_end_of_a_value_is_not_the_next_ones(subject: Subject) -> None:
    version = (await subject.put()).version
    about = await subject.store.store(subject.reference("crm"), NEW, Terms(kind="API_KEY"), version)
    assert (about.expires, about.rotate_days) == (None, None)
    assert (await subject.resolve("crm")).expires is None


async def test_who_writes_over_an_old_version_is_told_and_changes_nothing(subject: Subject) -> None:
    first = (await subject.put()).version
    second = await subject.store.store(subject.reference("crm"), NEW, ALL, first)
    late = Secret("late-2c40be91")
    assert await _code(subject.store.store(subject.reference("crm"), late, Terms(), first)) == "conflict"
    assert await _code(subject.store.amend(subject.reference("crm"), Terms(), first)) == "conflict"
    assert await _code(subject.store.delete(subject.reference("crm"), first)) == "conflict"
    assert await subject.value() == NEW.reveal().decode()
    shown = await subject.store.about(subject.reference("crm"))
    assert (shown.version, shown.expires, shown.rotate_days) == (second.version, ALL.expires, ALL.rotate_days)


async def test_of_many_at_once_one_is_made_and_its_terms_are_its_own(subject: Subject) -> None:
    async def store(number: int, expected: str | None) -> int | str:
        terms = Terms(kind="API_KEY", rotate_days=number + 1)
        try:
            await subject.store.store(subject.reference("crm"), Secret(f"value-{number:04}"), terms, expected)
        except Refused as refused:
            return refused.code
        return number

    expected = None
    for _ in range(2):  # first where there is none, then over one version
        ended = await asyncio.gather(*(store(number, expected) for number in range(6)))
        assert sorted(map(str, ended), key=len, reverse=True)[:5] == ["conflict"] * 5
        (winner,) = [number for number in ended if isinstance(number, int)]
        assert await subject.value() == f"value-{winner:04}"
        about = await subject.store.about(subject.reference("crm"))
        assert about.rotate_days == winner + 1
        expected = about.version


async def test_what_is_not_there_is_not_changed(subject: Subject) -> None:
    missing = subject.reference("missing")
    assert await _code(subject.store.about(missing)) == "unknown_credential"
    for verb in ("rotate", "amend", "delete"):
        assert await _code(subject.change(verb, missing, "1")) == "unknown_credential"
    assert list(await subject.store.list()) == []


async def test_terms_change_and_the_value_and_its_version_stay(subject: Subject) -> None:
    stored = await subject.put()
    assert (await subject.resolve("crm")).expires == ALL.expires
    sooner = Terms(kind="BEARER_TOKEN", expires=(ALL.expires or 0) - DAY)
    amended = await subject.store.amend(subject.reference("crm"), sooner, stored.version)
    assert (amended.version, amended.expires, amended.rotate_days) == (stored.version, sooner.expires, None)
    found = await subject.resolve("crm")
    assert (found.secret, found.version, found.expires) == (VALUE, stored.version, sooner.expires)
    await subject.store.amend(subject.reference("crm"), Terms(kind="BEARER_TOKEN"), stored.version)
    assert (await subject.resolve("crm")).expires is None


async def test_a_certificate_ends_when_it_says(subject: Subject, tmp_path: Path) -> None:
    plain = Secret(Authority(tmp_path).client(days=3))
    about = await subject.put(secret=plain, terms=Terms(kind="CERTIFICATE"))
    now = time.time_ns() // 1000
    for expires in (about.expires, (await subject.resolve("crm")).expires):
        assert expires is not None
        assert 2 * DAY < expires - now <= 3 * DAY


@pytest.mark.parametrize(
    ("plain", "terms", "reason"),
    [
        (f"{CANARY}\r\nX-Evil: yes", Terms(), "line_break"),
        (f"{CANARY}\nmore", Terms(kind="API_KEY"), "line_break"),
        ("abc", Terms(), "too_short"),
        ("", Terms(), "too_short"),
        ("x" * (VALUE_LIMIT + 1), Terms(), "too_long"),
        (f"Bearer {CANARY}", Terms(kind="BEARER_TOKEN"), "wrong_form"),
        (CANARY, Terms(kind="CERTIFICATE"), "wrong_form"),
        (CANARY, Terms(kind="SSH_KEY"), "wrong_form"),
        (CANARY, Terms(kind="ODD"), "unknown_kind"),
        (CANARY, Terms(expires=1), "ended"),
        (CANARY, Terms(rotate_days=-1), "rotation_days"),
    ],
)
async def test_a87_what_cannot_be_used_is_refused_before_anything_is_written(
    subject: Subject, plain: str, terms: Terms, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        await subject.put(secret=Secret(plain), terms=terms)
    assert (refused.value.code, refused.value.reasons[0].code) == ("invalid_payload", reason)
    assert CANARY not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert list(await subject.store.list()) == []
    stored = await subject.put()
    with pytest.raises(Refused):
        await subject.store.store(subject.reference("crm"), Secret(plain), terms, stored.version)
    assert await subject.value() == CANARY
    assert (await subject.store.about(subject.reference("crm"))).version == stored.version


async def test_terms_that_do_not_fit_the_value_are_refused(subject: Subject) -> None:
    stored = await subject.put(secret=Secret("a value of words"), terms=Terms(kind="API_KEY"))
    if not isinstance(subject.store, HeldStore):  # which does not look at what it holds
        for terms in (Terms(kind="BEARER_TOKEN"), Terms(kind="CERTIFICATE")):
            code = await _code(subject.store.amend(subject.reference("crm"), terms, stored.version))
            assert code == "invalid_payload"
    for terms in (Terms(kind="ODD"), Terms(expires=1), Terms(rotate_days=0)):
        code = await _code(subject.store.amend(subject.reference("crm"), terms, stored.version))
        assert code == "invalid_payload"
    assert (await subject.store.about(subject.reference("crm"))).kind == "API_KEY"


async def test_a103_what_was_deleted_resolves_no_more(subject: Subject) -> None:
    first = await subject.put()
    about = await subject.store.store(subject.reference("crm"), NEW, ALL, first.version)
    await subject.value()
    await subject.store.delete(subject.reference("crm"), about.version)
    await _gone(subject)
    assert list(await subject.store.list()) == []
    assert await _code(subject.store.about(subject.reference("crm"))) == "unknown_credential"
    assert await _code(subject.store.delete(subject.reference("crm"), about.version)) == "unknown_credential"


async def test_what_was_deleted_can_be_stored_again_or_the_store_says_why_not(subject: Subject) -> None:
    first = await subject.put()
    await subject.store.delete(subject.reference("crm"), first.version)
    if subject.reference("crm").scheme == "aws":
        with pytest.raises(Refused) as refused:
            await subject.put(secret=NEW)
        assert (refused.value.code, refused.value.reasons[0].code) == ("conflict", "being_deleted")
        await _gone(subject)
        return
    again = await subject.put(secret=NEW, terms=Terms(kind="API_KEY"))
    assert await subject.value() == NEW.reveal().decode()
    assert (again.expires, again.rotate_days) == (None, None)


@pytest.mark.parametrize("verb", ["about", *CHANGES])
async def test_inv_4_c06_another_tenants_place_is_neither_shown_nor_changed(subject: Subject, verb: str) -> None:
    if subject.stranger is None:
        pytest.skip("the sealed store is the tenant's alone")
    work = subject.store.about(subject.stranger) if verb == "about" else subject.change(verb, subject.stranger, "1")
    assert await _code(work) == "tenant_mismatch"


async def test_a_change_is_made_over_the_newest_version_and_names_none(subject: Subject) -> None:
    stored = await subject.put()
    known = subject.reference("crm")
    versioned = Reference(known.scheme, known.locator, known.field, stored.version)
    for verb in CHANGES:
        assert await _code(subject.change(verb, versioned, stored.version)) == "invalid_payload"
    assert await subject.value() == CANARY


async def test_another_scheme_is_not_this_stores(subject: Subject) -> None:
    stored = await subject.put()
    known = subject.reference("crm")
    for scheme in {"encrypted", "env", "vault", "aws"} - {known.scheme}:
        for verb in CHANGES:
            code = await _code(subject.change(verb, Reference(scheme, known.locator, known.field), stored.version))
            assert code in ("invalid_payload", "tenant_mismatch")


async def test_c02_changes_fail_no_call_that_resolves_meanwhile(subject: Subject) -> None:
    version, seen, done = (await subject.put()).version, set[str](), asyncio.Event()

    async def use() -> None:
        while not done.is_set():
            found = await subject.resolve("crm")
            seen.add(found.secret.reveal().decode())
            await asyncio.sleep(0)

    users = [asyncio.create_task(use()) for _ in range(8)]
    for number in range(6):
        about = await subject.store.store(subject.reference("crm"), Secret(f"value-{number:04}"), ALL, version)
        version = about.version
        await subject.store.amend(subject.reference("crm"), Terms(kind="BEARER_TOKEN"), version)
    assert await subject.value() == "value-0005"
    done.set()
    await asyncio.gather(*users)
    assert seen <= {CANARY, *(f"value-{number:04}" for number in range(6))}


async def test_inv_5_nothing_of_a_store_shows_a_value(subject: Subject) -> None:
    stored = await subject.put()
    await subject.value()
    assert CANARY not in f"{stored!r} {subject.store!r} {await subject.store.list()!r}"


async def test_what_others_change_is_shown_and_every_change_says_who_does(fixed: Subject) -> None:
    about = await fixed.store.about(fixed.reference("crm"))
    assert (about.changeable, about.state, about.expires) == (False, "ok", None)
    assert [row.reference.locator for row in await fixed.store.list()] == [fixed.reference("crm").locator]
    assert CANARY not in f"{about!r} {fixed.store!r}"
    for verb in CHANGES:
        with pytest.raises(Refused) as refused:
            await fixed.change(verb, fixed.reference("crm"), about.version)
        assert refused.value.code == "read_only"
        assert len(refused.value.detail) > 40
    for name in ("unset", "missing", "other"):
        assert await _code(fixed.store.about(fixed.reference(name))) == "unknown_credential"


async def test_inv_4_c06_what_others_change_is_not_shown_to_another_tenant(fixed: Subject) -> None:
    if fixed.stranger is None:
        pytest.skip("the environment is the process's alone")
    assert await _code(fixed.store.about(fixed.stranger)) == "tenant_mismatch"
    for verb in CHANGES:
        assert await _code(fixed.change(verb, fixed.stranger, "1")) == "tenant_mismatch"


def test_the_suite_knows_every_scheme_that_is_administered() -> None:
    from sidecar.wiring import STORES

    assert set(STORES) == {"encrypted", "env", "vault", "aws"}
    assert os.sep not in "".join(STORES)
