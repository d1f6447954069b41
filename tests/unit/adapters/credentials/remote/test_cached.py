from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.cached import (
    GRACE_SECONDS,
    REFUSED_SECONDS,
    REPLACED_SECONDS,
    THREADS,
    CachedSource,
)
from sidecar.adapters.credentials.remote.store import Fetched, Loan, StoreFailure
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from tests.evidence import until
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver

HERE = Reference("vault", "secret/acme/crm", "token")
BOUND = 5.0


class ScriptedStore:
    """A ``Store`` in memory. What it is asked is noted; ``fails`` is raised by whatever is asked."""

    def __init__(self, seconds: float = 60.0, lends: bool = False) -> None:
        self.seconds = seconds
        self.lends = lends
        self.renewal = seconds
        self.fails: Exception | None = None
        self.fetched = 0
        self.renewed: list[str] = []
        self.returned: list[str] = []
        self.closed = False
        self.prefix = "canary"
        self.before: Callable[[], object] = lambda: None
        self.threads: set[int] = set()
        self.expires: int | None = None

    def fetch(self, _reference: Reference) -> Fetched:
        self.threads.add(threading.get_ident())
        self.fetched += 1
        number = self.fetched
        self.before()
        self._fail()
        fields = {"token": Secret(f"{self.prefix}-{number:08}"), "user": Secret("somebody")}
        loan = Loan(f"lease-{number}", 1) if self.lends else None
        return Fetched(fields, f"v{number}", self.seconds, loan, None, self.expires)

    def renew(self, loan: Loan, /) -> float:
        self.renewed.append(loan.id)
        self._fail()
        return self.renewal

    def give_back(self, loan: Loan, /) -> None:
        self.returned.append(loan.id)
        self._fail()

    def close(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


class Stage:
    """A source over a scripted store, with its clock and what was observed."""

    def __init__(self, **store: Any) -> None:
        self.store = ScriptedStore(**store)
        self.clock = HeldClock()
        self.observer = RecordingObserver()
        self.source = CachedSource("vault", self.store, self.clock, self.observer, BOUND)

    async def version(self, reference: Reference = HERE) -> str:
        return (await self.source.resolve(reference)).version

    async def reason(self, reference: Reference = HERE) -> str:
        with pytest.raises(Unavailable) as refusal:
            await self.source.resolve(reference)
        assert refusal.value.code == "credential_unavailable"
        return refusal.value.reasons[0].code

    async def pass_(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.source.tend()

    def outcomes(self) -> list[str]:
        return [fields["outcome"] for fields in self.observer.named("credential")]


@pytest.fixture
async def static() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.store.fails = None
    await made.source.close()


@pytest.fixture
async def lent() -> AsyncIterator[Stage]:
    made = Stage(lends=True)
    yield made
    made.store.fails = None
    await made.source.close()


async def test_a_thousand_first_uses_are_one_fetch_and_never_on_the_loop(static: Stage) -> None:
    found = await asyncio.gather(*(static.source.resolve(HERE) for _ in range(1000)))
    assert static.store.fetched == 1
    assert {one.version for one in found} == {"v1"}
    assert threading.get_ident() not in static.store.threads
    assert (await static.source.resolve(Reference("vault", HERE.locator, "user"))).secret == Secret("somebody")
    assert static.store.fetched == 1


async def test_a_caller_that_goes_away_does_not_end_the_fetch_of_the_others(static: Stage) -> None:
    asked, gate = threading.Event(), threading.Event()

    def held_up() -> None:
        asked.set()
        gate.wait(10)

    static.store.before = held_up
    first, second = (asyncio.create_task(static.source.resolve(HERE)) for _ in range(2))
    async with asyncio.timeout(10):
        await asyncio.to_thread(asked.wait)
    first.cancel()
    gate.set()
    assert (await second).version == "v1"
    assert static.store.fetched == 1


async def test_from_the_cache_a_resolution_takes_at_most_five_microseconds(static: Stage) -> None:
    await static.version()

    async def timed(count: int = 2000) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            await static.source.resolve(HERE)
        return (time.perf_counter() - begun) / count

    assert min([await timed() for _ in range(20)]) <= 5e-6


async def test_inv_5_between_calls_there_is_ciphertext_only(static: Stage) -> None:
    static.store.prefix = "only-here"
    kept = await static.source.resolve(HERE)
    assert _in_the_open(b"only-here") == 1  # the search finds what is there
    del kept
    async with asyncio.timeout(10):
        while _in_the_open(b"only-here"):  # the thread that fetched may not have let go yet
            await asyncio.to_thread(gc.collect)


def _in_the_open(text: bytes) -> int:
    held = [value for value in gc.get_objects() if type(value) is Secret]
    return sum(text in secret.reveal() for secret in held)


async def test_nothing_is_used_past_its_time_even_where_the_store_is_down(static: Stage) -> None:
    await static.version()
    static.store.fails = StoreFailure("store_unreachable")
    static.clock.advance(59.9)
    assert await static.version() == "v1"
    static.clock.advance(0.1)
    assert await static.reason() == "store_unreachable"


async def test_time_counts_from_before_the_store_was_asked(static: Stage) -> None:
    static.store.before = lambda: static.clock.advance(61)
    assert await static.reason() == "store_slow"
    static.store.before = lambda: static.clock.advance(30)
    await static.version()
    static.store.before = lambda: None
    static.clock.advance(30)
    assert await static.version() == "v3"


async def test_a_value_in_use_is_read_again_at_two_thirds_and_one_that_is_not_lapses(static: Stage) -> None:
    await static.version()
    await static.pass_(39)
    assert static.store.fetched == 1
    await static.pass_(2)
    assert static.store.fetched == 2
    assert await static.version() == "v2"
    await static.pass_(61)
    assert static.store.fetched == 2
    assert static.source.expiring(1e9) == []


async def test_a_renewal_that_does_not_get_through_is_tried_again_before_the_end(static: Stage) -> None:
    await static.version()
    static.store.fails = StoreFailure("store_slow")
    pause = await _tended(static, 41)
    assert 0 < pause < 19
    static.store.fails = None
    await static.pass_(pause)
    assert await static.version() == "v3"


async def _tended(stage: Stage, seconds: float) -> float:
    stage.clock.advance(seconds)
    return await stage.source.tend()


@pytest.mark.parametrize("code", ["no_such_secret", "store_forbidden", "store_login_refused"])
async def test_a103_an_answer_that_it_is_gone_holds_at_once(static: Stage, code: str) -> None:
    await static.version()
    static.store.fails = StoreFailure(code)
    await static.pass_(41)
    assert await static.reason() == code


async def test_a_refusal_is_remembered_for_a_second(static: Stage) -> None:
    static.store.fails = StoreFailure("no_such_secret")
    assert {await static.reason() for _ in range(50)} == {"no_such_secret"}
    assert static.store.fetched == 1
    static.clock.advance(REFUSED_SECONDS)
    static.store.fails = None
    assert await static.version() == "v2"


async def test_a_loan_is_renewed_and_given_back_when_nobody_uses_it(lent: Stage) -> None:
    await lent.version()
    await lent.pass_(41)
    assert lent.store.renewed == ["lease-1"]
    assert await lent.version() == "v1"
    await lent.pass_(41)
    assert lent.store.renewed == ["lease-1", "lease-1"]
    await lent.pass_(41)
    await lent.pass_(GRACE_SECONDS)
    assert lent.store.returned == ["lease-1"]


@pytest.mark.parametrize("renewal", [0.0, 19.0])
async def test_a_loan_that_cannot_go_on_is_replaced_and_the_old_one_given_back_later(
    lent: Stage, renewal: float
) -> None:
    await lent.version()
    lent.store.renewal = renewal  # of 60
    await lent.pass_(41)
    assert await lent.version() == "v2"
    assert lent.store.returned == []
    await lent.pass_(GRACE_SECONDS)
    assert lent.store.returned == ["lease-1"]


async def test_a_loan_that_was_revoked_under_us_is_never_used_again(lent: Stage) -> None:
    await lent.version()
    lent.store.fails = StoreFailure("lease_lost")
    await lent.pass_(41)
    assert await lent.reason() == "lease_lost"
    lent.store.fails = None
    lent.clock.advance(REFUSED_SECONDS)
    assert await lent.version() == "v3"


@pytest.mark.parametrize("code", ["store_forbidden", "store_login_refused"])
async def test_a103_a_loan_that_the_store_refuses_to_renew_is_not_used_again(lent: Stage, code: str) -> None:
    await lent.version()
    lent.store.fails = StoreFailure(code)
    await lent.pass_(41)
    assert await lent.reason() == code
    lent.store.fails = None
    await lent.pass_(GRACE_SECONDS)
    assert lent.store.returned == ["lease-1"]


async def test_a_loan_outlives_an_outage_by_nothing(lent: Stage) -> None:
    await lent.version()
    lent.store.fails = StoreFailure("store_sealed")
    await lent.pass_(41)
    assert await lent.version() == "v1"
    lent.clock.advance(19)
    assert await lent.reason() == "store_sealed"


async def test_refused_credentials_are_fetched_anew_once_for_everybody(lent: Stage) -> None:
    await lent.version()
    lent.clock.advance(REPLACED_SECONDS)
    fresh = await asyncio.gather(*(lent.source.refresh(HERE, "v1") for _ in range(100)))
    assert {one.version for one in fresh} == {"v2"}
    assert (await lent.source.refresh(HERE, "v1")).version == "v2"  # newer than the refused one already
    assert (await lent.source.refresh(HERE, "v2")).version == "v2"  # it was fetched this very second
    assert lent.store.fetched == 2


async def test_an_upstream_that_refuses_everything_is_no_flood_at_the_store(lent: Stage, static: Stage) -> None:
    for stage, apart in ((lent, REPLACED_SECONDS), (static, REFUSED_SECONDS)):
        version = await stage.version()
        for _ in range(3 * 200):
            stage.clock.advance(apart / 199.5)
            version = (await stage.source.refresh(HERE, version)).version
        assert stage.store.fetched == 1 + 3


async def test_a_refresh_that_fails_is_a_refusal(static: Stage) -> None:
    await static.version()
    static.clock.advance(REFUSED_SECONDS)
    static.store.fails = StoreFailure("store_slow")
    with pytest.raises(Unavailable):
        await static.source.refresh(HERE, "v1")


async def test_at_the_end_everything_is_given_back_and_nothing_resolves(lent: Stage) -> None:
    await lent.version()
    await lent.version(Reference("vault", "secret/acme/other", "token"))
    await lent.source.close()
    assert sorted(lent.store.returned) == ["lease-1", "lease-2"]
    assert lent.store.closed
    assert await lent.reason() == "source_closed"


async def test_what_cannot_be_given_back_is_told_and_ends_by_itself(lent: Stage) -> None:
    await lent.version()
    lent.store.fails = StoreFailure("store_forbidden")
    await lent.source.close()
    assert lent.outcomes()[-1] == "not_given_back"


async def test_a_failure_that_no_store_foresaw_is_told_by_its_class_only(static: Stage) -> None:
    static.store.fails = RuntimeError("canary-12345678")
    assert await static.reason() == "store_failing"
    assert static.observer.named("failure") == [{"task": "vault-store", "error": "RuntimeError"}]
    assert "canary" not in str(static.observer.events)


async def test_versions_are_places_of_their_own(static: Stage) -> None:
    assert await static.version() == "v1"
    assert await static.version(Reference("vault", HERE.locator, "token", "1")) == "v2"
    assert [row[0] for row in static.source.expiring(60)] == [HERE.locator, f"{HERE.locator}@1"]
    assert static.source.expiring(59) == []


async def test_a_field_that_is_not_there_costs_no_request(static: Stage) -> None:
    await static.version()
    assert await static.reason(Reference("vault", HERE.locator, "nothing")) == "no_such_field"
    assert await static.reason(Reference("vault", HERE.locator)) == "no_such_field"
    assert static.store.fetched == 1


async def test_another_scheme_is_refused(static: Stage) -> None:
    await static.version()
    assert await static.reason(Reference("aws", HERE.locator, "token")) == "other_tenant"


async def test_what_is_told_names_places_and_versions(static: Stage) -> None:
    await static.version()
    (told,) = static.observer.named("credential")
    assert told == {"outcome": "fetched", "scheme": "vault", "place": HERE.locator, "version": "v1"}
    static.clock.advance(60)
    static.store.fails = StoreFailure("store_sealed")
    await static.reason()
    told = static.observer.named("credential")[-1]
    assert told["outcome"] == "store_sealed"
    assert "unseal" in told["message"]


async def test_renewal_happens_by_itself() -> None:
    from sidecar.adapters.clock import SystemClock

    store = ScriptedStore(seconds=0.3)
    source = CachedSource("vault", store, SystemClock(), RecordingObserver(), BOUND)
    seen: set[str] = set()
    async with asyncio.timeout(10):
        while len(seen) < 3:
            credential: Credential = await source.resolve(HERE)
            seen.add(credential.version)
            await asyncio.sleep(0.01)
    await source.close()


async def test_a_change_that_is_made_here_is_used_by_the_next_call() -> None:
    store = ScriptedStore()
    source = CachedSource("vault", store, HeldClock(), RecordingObserver(), BOUND)
    assert (await source.resolve(HERE)).version == "v1"
    source.forget("secret/acme/other")
    assert (await source.resolve(HERE)).version == "v1"
    source.forget(HERE.locator)
    assert (await source.resolve(HERE)).version == "v2"
    await source.close()


async def test_a_refusal_of_before_a_change_is_not_remembered() -> None:
    store = ScriptedStore()
    source = CachedSource("vault", store, HeldClock(), RecordingObserver(), BOUND)
    store.fails = StoreFailure("no_such_secret")
    with pytest.raises(Unavailable):
        await source.resolve(HERE)
    store.fails = None
    source.forget(HERE.locator)
    assert (await source.resolve(HERE)).version == "v2"
    await source.close()


@pytest.mark.parametrize("fails", [None, StoreFailure("no_such_secret")])
async def test_a_fetch_that_a_change_overtook_is_made_again(fails: StoreFailure | None) -> None:
    store = ScriptedStore()
    source = CachedSource("vault", store, HeldClock(), RecordingObserver(), BOUND)
    reached, goes_on = threading.Event(), threading.Event()

    def before() -> None:
        reached.set()
        assert goes_on.wait(BOUND)

    store.before, store.fails = before, fails
    resolving = asyncio.create_task(source.resolve(HERE))
    assert await asyncio.to_thread(reached.wait, BOUND)
    source.forget(HERE.locator)  # the change was made while the fetch was under way

    def after() -> None:
        store.fails = None

    store.before = after
    goes_on.set()
    assert (await resolving).version == "v2"
    await source.close()


async def test_what_is_forgotten_as_it_comes_still_serves_who_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = CachedSource("vault", ScriptedStore(), HeldClock(), RecordingObserver(), BOUND)
    hold = source._hold

    def held_and_forgotten(*given: Any) -> Any:
        held = hold(*given)
        source._held.clear()
        return held

    monkeypatch.setattr(source, "_hold", held_and_forgotten)  # a change between the fetch and who waits for it
    assert (await source.resolve(HERE)).version == "v1"
    await source.close()


async def test_c02_a_value_that_has_ended_is_looked_for_anew_once_a_second(static: Stage) -> None:
    static.store.expires = static.clock.now() + 10_000_000
    assert await static.version() == "v1"
    static.clock.advance(10)
    static.store.expires = static.clock.now() + 10_000_000  # rotated past the sidecar, in time or not
    assert await static.version() == "v2"
    static.clock.advance(10)
    for _ in range(3):  # and this one was not
        found = await asyncio.gather(*(static.source.resolve(HERE) for _ in range(10)))
        assert {one.expires for one in found} == {static.store.expires}
    assert static.store.fetched == 3


async def test_a_value_that_has_ended_is_not_used_where_the_store_is_down(static: Stage) -> None:
    static.store.expires = static.clock.now() + 10_000_000
    await static.version()
    static.clock.advance(10)
    static.store.fails = StoreFailure("store_unreachable")
    assert await static.reason() == "store_unreachable"


async def test_a_fetch_does_not_have_everything_that_is_held_looked_at(
    static: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    tend = static.source.tend

    async def counted() -> float:
        nonlocal looks
        looks += 1
        return await tend()

    monkeypatch.setattr(static.source, "tend", counted)
    for number in range(50):
        await static.version(Reference("vault", f"secret/acme/{number}", "token"))
    assert 1 <= looks <= 3


async def test_renewals_leave_threads_to_calls(static: Stage) -> None:
    places = [Reference("vault", f"secret/acme/{number}", "token") for number in range(2 * THREADS)]
    for place in places:
        await static.version(place)
    static.clock.advance(static.store.seconds * 0.7)
    slow = threading.Event()
    static.store.before = lambda: slow.wait(20)
    renewing = asyncio.create_task(static.source.tend())
    await until(lambda: static.store.fetched > len(places))
    static.store.before = lambda: None  # from here on: those that began before still wait
    try:
        async with asyncio.timeout(BOUND / 2):
            assert await static.version(HERE)
    finally:
        slow.set()
        await renewing
    assert static.store.fetched == 2 * len(places) + 1
