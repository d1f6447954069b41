"""A remote store to the rest of the house: calls resolve by it, and administrators change what it keeps.

One object is both, so that a change is known where values are held: from the moment a change returns, calls that
begin use what it left, and those under way finish with what they have. Changes are made one at a time, in one of the
source's threads: administrators never take those that calls wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from sidecar.adapters.credentials.remote.cached import LONGEST_WORK, CachedSource
from sidecar.adapters.credentials.remote.store import FAILURES, KeptStore, StoreFailure
from sidecar.errors import Reason, Refused, SidecarError, Unavailable
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.ports import Clock, Observer
from sidecar.rules.credential_terms import check_change

# What a store's answer is to an administrator; anything else is the store's own trouble.
_REFUSALS: Final = {
    "no_such_secret": "unknown_credential",
    "no_such_version": "unknown_credential",
    "no_such_field": "unknown_credential",
    "version_conflict": "conflict",
    "being_deleted": "conflict",
    "other_tenant": "tenant_mismatch",
}
# Refused without a look at what is there: what calls hold stays theirs, above all what was lent to them.
_UNTOUCHED: Final = frozenset({"read_only", "invalid_payload", "tenant_mismatch"})
_LONGEST_LIST: Final = 24  # times the bound: an exchange or two for each credential that there is
Result = TypeVar("Result")


class RemoteCredentials(CachedSource):
    """A ``CachedSource`` that is a ``CredentialStore``, too."""

    def __init__(self, scheme: str, store: KeptStore, clock: Clock, observer: Observer, bound_seconds: float) -> None:
        super().__init__(scheme, store, clock, observer, bound_seconds)
        self._kept = store
        self._one = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def about(self, reference: Reference) -> About:
        """What may be shown of one credential."""
        return await self._asked(lambda: self._kept.about(_newest(reference)))

    async def list(self) -> Sequence[About]:
        """What may be shown of every credential that the tenant may name here."""
        return await self._asked(self._kept.list, _LONGEST_LIST)

    async def store(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value. Where the store's answer was lost, what is held is forgotten all the same."""
        kept = check_change(reference, _text(secret), terms, self._clock.now())
        return await self._change(reference, lambda: self._kept.write(reference, secret, kept, expected))

    async def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give a value other terms; of a kind that has a form, only where it has that form."""

        def work() -> About:
            value = None
            if reference.field is not None or self._scheme == "aws":
                fetched = self._kept.fetch(reference) if terms.kind is not None else None
                value = fetched.fields.get(reference.field or "") if fetched is not None else None
            kept = check_change(reference, value, terms, self._clock.now())
            return self._kept.amend(reference, kept, expected)

        check_change(reference, None, terms, self._clock.now())
        return await self._change(reference, work)

    async def delete(self, reference: Reference, expected: str) -> None:
        """Delete a credential."""
        check_change(reference, None, Terms(), self._clock.now())
        await self._change(reference, lambda: self._kept.delete(reference, expected))

    async def _change(self, reference: Reference, work: Callable[[], Result]) -> Result:
        async def whole() -> Result:
            untouched = False
            try:
                return await self._asked(work)
            except Refused as refused:
                untouched = refused.code in _UNTOUCHED
                raise
            finally:
                if not untouched:
                    self.forget(reference.locator)

        return await self._to_its_end(whole())

    async def _asked(self, work: Callable[[], Result], times: int = LONGEST_WORK) -> Result:
        async with self._one:
            try:
                if self._closed:
                    raise StoreFailure("source_closed")
                return await self._in_thread(work, times)
            except StoreFailure as failure:
                raise _refusal(failure) from None

    async def _to_its_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        """``work``, which goes on where who asked for it goes away: its thread does, and what is held must follow."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # it was raised to who asked, or nobody is left to be told


def _newest(reference: Reference) -> Reference:
    check_change(reference, None, Terms(), 0)
    return reference


def _text(secret: Secret) -> Secret:
    """Raises ``Refused("invalid_payload")`` for bytes that a store of texts cannot keep."""
    try:
        secret.reveal().decode()
    except UnicodeDecodeError:
        raise Refused("invalid_payload", FAILURES["unusable_secret"], [_reason("unusable_secret")]) from None
    return secret


def _refusal(failure: StoreFailure) -> SidecarError:
    if failure.code in _REFUSALS:
        return Refused(_REFUSALS[failure.code], failure.message, [_reason(failure.code)])
    return Unavailable("store_unavailable", "The credential store did not do it.", [_reason(failure.code)])


def _reason(code: str) -> Reason:
    return Reason(code, FAILURES[code])
