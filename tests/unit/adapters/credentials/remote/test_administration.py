from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from sidecar.adapters.credentials.remote.administration import RemoteCredentials
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.errors import Refused, SidecarError
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver
from tests.unit.adapters.credentials.remote.test_cached import ScriptedStore

HERE = Reference("vault", "secret/acme/crm", "token")
NEW = Secret("rotated-12345678")
BOUND = 5.0


class ScriptedKeeper(ScriptedStore):
    """A ``KeptStore`` in memory that notes what it is asked, and changes nothing."""

    def __init__(self, lends: bool = False) -> None:
        super().__init__(lends=lends)
        self.row = About(reference=HERE, kind=None, version="1")
        self.changes: list[str] = []
        self.going = 0
        self.most = 0

    def about(self, _reference: Reference) -> About:
        self._fail()
        return self.row

    def list(self) -> Sequence[About]:
        self._fail()
        return [self.row]

    def write(self, _reference: Reference, _secret: Secret, _terms: Terms, _expected: str | None) -> About:
        return self._changed("write")

    def amend(self, _reference: Reference, _terms: Terms, _expected: str) -> About:
        return self._changed("amend")

    def delete(self, _reference: Reference, _expected: str) -> None:
        self._changed("delete")

    def _changed(self, verb: str) -> About:
        self.going += 1
        self.most = max(self.most, self.going)
        self.changes.append(verb)
        self.before()
        self.going -= 1
        self._fail()
        return self.row


@pytest.fixture
def store() -> ScriptedKeeper:
    return ScriptedKeeper()


@pytest.fixture
async def both(store: ScriptedKeeper) -> AsyncIterator[RemoteCredentials]:
    made = RemoteCredentials("vault", store, HeldClock(), RecordingObserver(), BOUND)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (StoreFailure("no_such_secret"), "unknown_credential", "no_such_secret"),
        (StoreFailure("no_such_field"), "unknown_credential", "no_such_field"),
        (StoreFailure("version_conflict"), "conflict", "version_conflict"),
        (StoreFailure("being_deleted"), "conflict", "being_deleted"),
        (StoreFailure("other_tenant"), "tenant_mismatch", "other_tenant"),
        (StoreFailure("store_sealed"), "store_unavailable", "store_sealed"),
        (StoreFailure("store_unreachable"), "store_unavailable", "store_unreachable"),
        (StoreFailure("store_slow"), "store_unavailable", "store_slow"),
        (StoreFailure("store_forbidden"), "store_unavailable", "store_forbidden"),
        (StoreFailure("store_login_refused"), "store_unavailable", "store_login_refused"),
        (StoreFailure("unusable_terms"), "store_unavailable", "unusable_terms"),
        (StoreFailure("too_many"), "store_unavailable", "too_many"),
        (ZeroDivisionError("canary"), "store_unavailable", "store_failing"),
        (Refused("read_only", "Another changes it."), "read_only", None),
    ],
)
async def test_every_failure_of_a_store_is_a_refusal_with_its_reason(
    both: RemoteCredentials, store: ScriptedKeeper, failure: Exception, code: str, reason: str | None
) -> None:
    store.fails = failure
    for asked in (
        both.about(HERE),
        both.list(),
        both.store(HERE, NEW, Terms(), None),
        both.amend(HERE, Terms(), "1"),
        both.delete(HERE, "1"),
    ):
        with pytest.raises(SidecarError) as refused:
            await asked
        assert refused.value.code == code
        assert [one.code for one in refused.value.reasons] == ([] if reason is None else [reason])
        assert "canary" not in f"{refused.value!r} {refused.value.__cause__!r}"


async def test_each_change_is_used_by_the_next_call_even_where_its_answer_was_lost(
    both: RemoteCredentials, store: ScriptedKeeper
) -> None:
    assert (await both.resolve(HERE)).version == "v1"
    await both.store(HERE, NEW, Terms(), "1")
    assert (await both.resolve(HERE)).version == "v2"
    await both.amend(HERE, Terms(), "1")
    assert (await both.resolve(HERE)).version == "v3"
    store.before = lambda: setattr(store, "fails", StoreFailure("store_slow"))
    with pytest.raises(SidecarError):
        await both.delete(HERE, "1")
    store.before, store.fails = lambda: None, None
    assert (await both.resolve(HERE)).version == "v4"
    assert store.changes == ["write", "amend", "delete"]


async def test_a_change_that_cannot_be_made_takes_nothing_from_the_calls(
    both: RemoteCredentials, store: ScriptedKeeper
) -> None:
    await both.resolve(HERE)

    def refuse() -> None:
        raise Refused("read_only", "Vault makes these users itself.")

    store.before = refuse
    with pytest.raises(Refused):
        await both.store(HERE, NEW, Terms(), "1")
    store.before = lambda: None
    assert both.expiring(1e9) != []
    await both.store(HERE, NEW, Terms(), "1")
    assert both.expiring(1e9) == []


async def test_to_look_forgets_nothing(both: RemoteCredentials) -> None:
    await both.resolve(HERE)
    await both.about(HERE)
    await both.list()
    assert (await both.resolve(HERE)).version == "v1"


async def test_a_change_goes_on_where_who_asked_for_it_goes_away(
    both: RemoteCredentials, store: ScriptedKeeper
) -> None:
    await both.resolve(HERE)
    reached, goes_on = threading.Event(), threading.Event()

    def before() -> None:
        reached.set()
        assert goes_on.wait(BOUND)

    store.before = before
    asked = asyncio.create_task(both.store(HERE, NEW, Terms(), "1"))
    assert await asyncio.to_thread(reached.wait, BOUND)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    store.before = lambda: None
    goes_on.set()
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*both._running)
    assert (await both.resolve(HERE)).version == "v2"


async def test_administrators_take_one_thread_and_leave_the_others_to_calls(
    both: RemoteCredentials, store: ScriptedKeeper
) -> None:
    goes_on = threading.Event()
    changes_wait = threading.Event()

    def before() -> None:
        if store.going:
            changes_wait.set()
            assert goes_on.wait(BOUND)

    store.before = before
    changes = [asyncio.create_task(both.store(HERE, NEW, Terms(), "1")) for _ in range(10)]
    assert await asyncio.to_thread(changes_wait.wait, BOUND)
    store.before = lambda: None
    async with asyncio.timeout(BOUND):
        assert (await both.resolve(HERE)).version == "v1"
    goes_on.set()
    await asyncio.gather(*changes)
    assert store.most == 1


async def test_bytes_that_are_no_text_are_refused_before_anything_is_asked(
    both: RemoteCredentials, store: ScriptedKeeper
) -> None:
    with pytest.raises(Refused) as refused:
        await both.store(HERE, Secret(b"\xff\xfe\xfd\xfc"), Terms(), None)
    assert (refused.value.code, refused.value.reasons[0].code) == ("invalid_payload", "unusable_secret")
    assert store.changes == []


async def test_a_store_that_was_closed_changes_nothing(both: RemoteCredentials, store: ScriptedKeeper) -> None:
    await both.close()
    with pytest.raises(SidecarError) as refused:
        await both.store(HERE, NEW, Terms(), "1")
    assert (refused.value.code, refused.value.reasons[0].code) == ("store_unavailable", "source_closed")
    assert store.changes == []
