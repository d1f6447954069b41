"""A ``CredentialSource`` over a remote store: one fetch for everybody, ciphertext only, never beyond the lease.

What a store gave is sealed field by field under a key that this process drew and never writes down (AES-256-GCM);
the plain bytes exist while a call uses them. Time is measured from before the store was asked, on the monotonic
clock, so that neither a slow answer nor a clock that is wrong lengthens a lease.

- **First use.** All calls that need one place wait for one fetch (1,000 calls, one request), each for a bounded
  time; the fetch goes on without them.
- **Renewal.** At two thirds of its time a loan that was used is renewed, and replaced where it cannot be; a static
  value is fetched again. What nobody used is given back, or forgotten at its end.
- **Faults.** While the store does not answer, what is held serves until its own end and no longer. An answer that the
  credential is gone, forbidden or revoked holds at once. A failure is remembered for a second, so that a refused
  credential does not become a flood of requests.
- **Loss.** A loan that was replaced is given back once the calls that may still use it are over; ``close`` gives back
  all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import Final, TypeVar

from sidecar.adapters.credentials.remote.exchanges import Exchange
from sidecar.adapters.credentials.remote.held import Held, Vessel
from sidecar.adapters.credentials.remote.store import Fetched, Loan, Store, StoreFailure
from sidecar.errors import Reason, Refused, Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.ports import Clock, Observer
from sidecar.rules.sealing import KEY_BYTES, SealBrokenError

THREADS: Final = 4
# Of what a call waits for: one piece of work may log in, be refused, look at its login, and do it all again.
LONGEST_WORK: Final = 4
REFUSED_SECONDS: Final = (
    1.0  # a failure is remembered so long, and a value that was just fetched is not fetched again
)
REPLACED_SECONDS: Final = 10.0  # a loan that was just taken is not replaced: users would be made as fast as refused
GRACE_SECONDS: Final = 30.0  # calls that took a credential before it was replaced are over by then
_LONGEST_PAUSE: Final = 30.0  # seconds between two looks at what is due
_RETRY_SHARE: Final = 4  # of the time that is left, when a renewal did not get through
_SHRUNK: Final = 3  # a renewal that gives less than this part of the first time means that the end is near

Place = tuple[str, str | None]  # locator and version: what one fetch brings
Result = TypeVar("Result")


class CachedSource:
    """``bound_seconds``: how long a call waits for the store. Made anywhere, used on one event loop."""

    def __init__(self, scheme: str, store: Store, clock: Clock, observer: Observer, bound_seconds: float) -> None:
        self._scheme = scheme
        self._store = store
        self._clock = clock
        self._observer = observer
        self._bound = bound_seconds
        self._vessel = Vessel(secrets.token_bytes(KEY_BYTES))
        self._held: dict[Place, Held] = {}
        self._refused: dict[Place, tuple[float, StoreFailure]] = {}
        self._flights: dict[Place, asyncio.Task[Held | StoreFailure]] = {}
        self._outgoing: list[tuple[float, Loan]] = []
        self._exchanges: set[Exchange] = set()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"{scheme}-store")
        self._tending: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(THREADS // 2)  # of what is due: the other threads are for what calls wait for
        self._changed = asyncio.Event()
        self._looked_at = inf  # monotonic seconds: when what is due is looked at next, unless `_changed` says earlier
        self._changes = 0  # of any place, made here
        self._closed = False

    async def resolve(self, reference: Reference) -> Credential:
        """The value and its version. Raises ``Unavailable("credential_unavailable")`` with the store's reason."""
        held = self._held.get((reference.locator, reference.version))
        if held is None or reference.scheme != self._scheme or self._is_past(held, reference):
            held = await self._fetched(reference)
        return self._credential(held, reference)

    async def refresh(self, reference: Reference, refused: str) -> Credential:
        """The credential as the store has it now, unless what is held is another version than ``refused`` already.

        For a call whose upstream took the credential no more. A second apart at the least, ten for a loan: an
        upstream that takes nothing must not make the store work for each of its refusals. Raises as ``resolve``.
        """
        place = (reference.locator, reference.version)
        held = self._held.get(place)
        if held is None or held.version != refused:
            return await self.resolve(reference)
        if self._clock.monotonic() - held.asked < (REFUSED_SECONDS if held.loan is None else REPLACED_SECONDS):
            return await self.resolve(reference)
        if held.loan is not None:  # the upstream knows the user no more: who else holds it must not use it either
            self._drop(place)
        return self._credential(await self._flown(reference), reference)

    def expiring(self, seconds: float) -> list[tuple[str, str, float]]:
        """What ends within ``seconds``, soonest first: place, version, seconds left. Renewal may come before."""
        now = self._clock.monotonic()
        ending = [(_shown(place), held.version, held.until - now) for place, held in self._held.items()]
        return sorted((row for row in ending if row[2] <= seconds), key=lambda row: row[2])

    def forget(self, locator: str) -> None:
        """Hold nothing of a place any more: it was changed. Calls that have the old value finish with it."""
        self._changes += 1
        for place in [place for place in self._held if place[0] == locator]:
            self._drop(place)
        for place in [place for place in self._refused if place[0] == locator]:
            del self._refused[place]

    async def tend(self) -> float:
        """Renew and give back what is due now; the seconds until there is more to do. Never raises."""
        now = self._clock.monotonic()
        due: list[Callable[[], Awaitable[None]]] = []
        for place, held in list(self._held.items()):
            if now >= held.until:
                self._drop(place)
            elif now >= held.due and held.used:
                due.append(partial(self._renew, place, held))
            elif now >= held.due and held.loan is not None:
                self._drop(place)
        over, self._outgoing = (
            [loan for at, loan in self._outgoing if at <= now],
            [(at, loan) for at, loan in self._outgoing if at > now],
        )
        due += [partial(self._give_back, loan) for loan in over]
        await asyncio.gather(*map(self._in_turn, due))
        return self._pause()

    async def _in_turn(self, work: Callable[[], Awaitable[None]]) -> None:
        async with self._turns:
            await work()

    async def close(self, after: float = 0.0) -> None:
        """Give back everything and log out, each for a bounded time; nothing resolves any more.

        ``after`` seconds: the time that calls which still hold this source are given first.
        """
        if after:
            await asyncio.sleep(after)
        self._closed = True
        if self._tending is not None:
            self._tending.cancel()
        if self._flights:
            await asyncio.wait(list(self._flights.values()), timeout=self._bound)
        for place in list(self._held):
            self._drop(place)
        loans, self._outgoing = self._outgoing, []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._bound):
                await asyncio.gather(*(self._give_back(loan) for _, loan in loans))
                with contextlib.suppress(StoreFailure):
                    await self._in_thread(self._store.close)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for exchange in self._exchanges:  # a thread that still waits would keep the process
            exchange.cut()

    def _is_past(self, held: Held, reference: Reference) -> bool:
        """Whether its time is over; or its value has ended, so that the store may have the next one by now, which is
        asked for once a second.
        """
        now, end = self._clock.monotonic(), held.ends.get(reference.field or "")
        if end is None or end > self._clock.now():
            return now >= held.until
        return now >= min(held.until, held.asked + REFUSED_SECONDS)

    def _credential(self, held: Held, reference: Reference) -> Credential:
        held.used = True
        opener = held.fields.get(reference.field or "")
        if opener is None:
            raise _unavailable(StoreFailure("no_such_field"))
        try:
            plain = Secret(opener.plain())
            return Credential(plain, held.version, held.kind, held.ends[reference.field or ""])
        except SealBrokenError:
            self._drop((reference.locator, reference.version))
            raise _unavailable(StoreFailure("unusable_secret")) from None

    async def _fetched(self, reference: Reference) -> Held:
        """What is held after one fetch for all who wait; a refusal where it fails or takes too long."""
        place = (reference.locator, reference.version)
        until, failure = self._refused.get(place, (0.0, None))
        if reference.scheme != self._scheme:
            failure = StoreFailure("other_tenant")
        elif self._closed:
            failure = StoreFailure("source_closed")
        elif failure is None or self._clock.monotonic() >= until:
            return await self._flown(reference)
        raise _unavailable(failure)

    async def _flown(self, reference: Reference) -> Held:
        """What a fetch brings, though it were forgotten again by now. Raises where its time is over already."""
        found = await self._flight(reference)
        if isinstance(found, Held) and self._clock.monotonic() < found.until:
            return found
        raise _unavailable(found if isinstance(found, StoreFailure) else StoreFailure("store_slow"))

    async def _flight(self, reference: Reference) -> Held | StoreFailure:
        """Join the fetch of a place, or begin it."""
        place = (reference.locator, reference.version)
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = asyncio.create_task(self._fetch(place, reference))
            flight.add_done_callback(lambda _: self._flights.pop(place, None))
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend_on())
        done, _ = await asyncio.wait([flight], timeout=self._bound)
        return flight.result() if done else StoreFailure("store_slow")

    async def _fetch(self, place: Place, reference: Reference) -> Held | StoreFailure:
        fetched: Fetched | None = None
        changes = -1
        while changes != self._changes and (fetched is None or fetched.loan is None):
            changes, asked = self._changes, self._clock.monotonic()
            try:
                fetched = await self._in_thread(lambda: self._store.fetch(reference))
            except StoreFailure as failure:
                if changes == self._changes:
                    self._refused[place] = (self._clock.monotonic() + REFUSED_SECONDS, failure)
                    self._tell_failure(place, failure)
                    return failure
                fetched = None  # as what was fetched, it may be older than the change that was made meanwhile
        assert fetched is not None
        if fetched.loan is not None and self._closed:
            await self._give_back(fetched.loan)
            return StoreFailure("source_closed")
        self._refused.pop(place, None)
        self._drop(place)
        return self._hold(place, fetched, asked)

    def _hold(self, place: Place, fetched: Fetched, asked: float) -> Held:
        held = self._held[place] = self._vessel.held(_shown(place), fetched, asked)
        if held.due < self._looked_at:  # not for each: ten thousand would each have all of them looked at
            self._changed.set()
        self._tell(place, "fetched", fetched.version)
        return held

    async def _renew(self, place: Place, held: Held) -> None:
        """Make what is held last longer, or replace it; what the store says is gone is dropped at once."""
        if self._held.get(place) is not held:  # changed while this waited for its turn
            return
        asked = self._clock.monotonic()
        held.used = False
        try:
            if held.loan is not None:
                seconds = await self._in_thread(lambda: self._store.renew(_lent(held)))
                if seconds * _SHRUNK >= held.seconds:
                    held.extend(asked, seconds)
                    self._tell(place, "renewed", held.version)
                    return
        except StoreFailure as failure:
            self._tell_failure(place, failure)
            if failure.code == "lease_lost":
                self._held.pop(place, None)
                await self._flight(_reference(self._scheme, place))
                return
            if not failure.is_outage:
                self._drop(place)
                return
        else:
            fresh = await self._flight(_reference(self._scheme, place))
            if isinstance(fresh, Held):
                return
            if not fresh.is_outage:
                self._drop(place)
                return
        held.used = True
        held.due = asked + max(REFUSED_SECONDS, (held.until - asked) / _RETRY_SHARE)

    def _drop(self, place: Place) -> None:
        """Forget what is held; a loan is given back when the calls that may use it are over, or at ``close``."""
        held = self._held.pop(place, None)
        if held is not None and held.loan is not None:
            self._outgoing.append((self._clock.monotonic() + GRACE_SECONDS, held.loan))

    async def _give_back(self, loan: Loan) -> None:
        outcome = "not_given_back"  # it ends by itself at the end of its lease
        try:
            await self._in_thread(lambda: self._store.give_back(loan))
            outcome = "given_back"
        except StoreFailure as failure:
            if failure.code == "lease_lost":
                outcome = "given_back"
        finally:  # told too where the time for it is over
            self._observer.observe("credential", {"outcome": outcome, "scheme": self._scheme})

    async def _tend_on(self) -> None:
        while True:
            self._changed.clear()
            self._looked_at = inf
            pause = await self.tend()
            self._looked_at = self._clock.monotonic() + pause
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    def _pause(self) -> float:
        now = self._clock.monotonic()
        moments = [
            min(held.due if held.used or held.loan else held.until, held.until) for held in self._held.values()
        ]
        moments += [at for at, _ in self._outgoing]
        return min([_LONGEST_PAUSE, *(max(0.05, moment - now) for moment in moments)])

    async def _in_thread(self, work: Callable[[], Result], times: int = LONGEST_WORK) -> Result:
        """``work`` in one of our threads, for so many times the bound and no longer than we wait for it.

        A failure that no store foresaw is told by its class.
        """
        exchange, loop = Exchange(), asyncio.get_running_loop()
        self._exchanges.add(exchange)
        bound = loop.call_later(self._bound * times, exchange.cut)
        try:
            return await loop.run_in_executor(self._pool, exchange.run, work)
        except (StoreFailure, Refused):
            raise
        except asyncio.CancelledError:
            exchange.cut()
            raise
        except Exception as error:
            self._observer.observe("failure", {"task": f"{self._scheme}-store", "error": type(error).__name__})
            raise StoreFailure("store_failing") from None
        finally:
            bound.cancel()
            self._exchanges.discard(exchange)

    def _tell(self, place: Place, outcome: str, version: str) -> None:
        told = {"outcome": outcome, "scheme": self._scheme, "place": _shown(place), "version": version}
        self._observer.observe("credential", told)

    def _tell_failure(self, place: Place, failure: StoreFailure) -> None:
        told = {"outcome": failure.code, "scheme": self._scheme, "place": _shown(place), "message": failure.message}
        self._observer.observe("credential", told)


def _lent(held: Held) -> Loan:
    assert held.loan is not None
    return held.loan


def _reference(scheme: str, place: Place) -> Reference:
    return Reference(scheme, place[0], None, place[1])


def _shown(place: Place) -> str:
    locator, version = place
    return f"{locator}@{version}" if version else locator


def _unavailable(failure: StoreFailure) -> Unavailable:
    detail = "the credential could not be resolved; nothing was sent"
    return Unavailable("credential_unavailable", detail, [Reason(failure.code, failure.message)])
