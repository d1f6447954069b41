"""The credential service (M14): store, show, list, amend, rotate, delete, what ends soon, what can be rotated.

Nothing here gives a value back, to nobody. Values go to the stores (``ports.CredentialStore``) and stay there; what
is shown is what a store says about them, with where the configuration binds them. Each change is recorded before it
is made and before it is acknowledged (``operations.changes``), without the value or anything made from it.

What the sidecar itself logs in with (to its registry, to where its policy comes from) is its operator's: whoever
could change that could have it served another policy or registry (INV-6). Others neither see nor change it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sidecar.errors import Misconfigured, Refused, SidecarError, Unavailable
from sidecar.model.admin import Bound, CredentialView, RemovedCredential, StoreFault
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.evidence import CREDENTIAL, Change, CredentialUse
from sidecar.model.principal import Principal
from sidecar.model.secret import Secret
from sidecar.operations.changes import ChangeLog, Entry, Made, Who
from sidecar.operations.tenant.bindings import Bindings, Place, place_in, place_of
from sidecar.ports import CredentialStore
from sidecar.rules import credential_terms, references

STORE, ROTATE, AMEND, DELETE = "store", "rotate", "amend", "delete"
ANY: Final = "*"  # whatever version it has now
MISSING, UNREAD = "missing", "unknown"
# Reasons of a store that answers, and gives no list: one credential may be asked for all the same.
_ANSWERS: Final = frozenset({"store_forbidden", "too_many"})
_LENT: Final = "lease-"  # how the version of what is lent begins


class Listing(NamedTuple):
    """Credentials by reference, and the stores whose are not among them."""

    views: list[CredentialView]
    faults: list[StoreFault]


class Credentials:
    """``stores`` are those of the moment, by scheme; ``now`` gives microseconds since the epoch."""

    def __init__(
        self, stores: Mapping[str, CredentialStore], bindings: Bindings, log: ChangeLog, now: Callable[[], int]
    ) -> None:
        self._stores = stores
        self._bindings = bindings
        self._log = log
        self._now = now

    async def listed(self, asker: Principal, scheme: str | None = None) -> Listing:
        """Every credential that the stores have or the configuration names, by reference."""
        named = self._bindings.named()
        schemes = sorted(self._stores.keys() | {place[0] for place in named})
        gathered = await asyncio.gather(*(self._of_store(one, named) for one in schemes if scheme in (None, one)))
        views = [view for listing in gathered for view in listing.views]
        used = {scheme, *(place[0] for place in named)}
        faults = [
            fault for listing in gathered for fault in listing.faults if fault.store in used or not _unmade(fault)
        ]
        seen = [view for view in views if self._bindings.may(asker, place_in(view.reference))]
        return Listing(sorted(seen, key=lambda view: view.reference), faults)

    async def shown(self, text: str, asker: Principal) -> CredentialView:
        """One credential. Raises ``Refused`` and ``Unavailable`` as its store does, and ``forbidden``."""
        reference = self._reference(text, asker)
        return self._bindings.view(await self._store(reference).about(reference))

    async def save(
        self, text: str, secret: Secret, terms: Terms, *, expected: str | None, asker: Principal
    ) -> CredentialView:
        """Store a value with its terms: a new credential (``expected`` None), or over the version ``expected``.

        Raises as ``CredentialStore.store`` does, and ``Unavailable("evidence_unavailable")``.
        """
        reference = self._reference(text, asker)
        before = None if expected is None else await self._before(reference, expected)
        verb = STORE if before is None else ROTATE
        return await self._stored(reference, verb, before, secret, terms, asker)

    async def rotate(
        self, text: str, secret: Secret, given: Terms, *, expected: str, asker: Principal
    ) -> CredentialView:
        """Give a credential another value. Type and promised rotation stay where ``given`` does not say; an end does
        not: it was the old value's."""
        reference = self._reference(text, asker)
        before = await self._before(reference, expected)
        terms = credential_terms.rotated(before, given)
        return await self._stored(reference, ROTATE, before, secret, terms, asker)

    async def amend(
        self, text: str, change: Callable[[Terms], Terms], *, expected: str, asker: Principal
    ) -> CredentialView:
        """Change what is said of a credential beside its value. Raises as ``CredentialStore.amend`` does."""
        reference = self._reference(text, asker)
        before = await self._before(reference, expected)
        terms = change(_terms(before))
        store, version = self._store(reference), before.version
        made = await self._make(
            reference, AMEND, before, terms, asker, lambda: store.amend(reference, terms, version)
        )
        return replace(self._bindings.view(made.result), evidence_id=made.evidence_id)

    async def delete(self, text: str, *, force: bool, expected: str, asker: Principal) -> RemovedCredential:
        """Delete a credential, with all its versions.

        Raises ``Refused("in_use")`` while a connector in service needs it, unless ``force``: a secret that got out
        must go even so, and calls without it are refused, not let through.
        """
        reference = self._reference(text, asker)
        before = await self._before(reference, expected)
        needed = self._bindings.used_by(place_of(reference))
        if needed and not force:
            raise Refused(
                "in_use",
                f"Connectors in service need it: {', '.join(needed)}. Bind another to them, take them out of "
                "service, or say force=true: their calls are refused from then on.",
            )
        store, version = self._store(reference), before.version

        async def deleted() -> None:
            await store.delete(reference, version)

        reasons = tuple({"code": "in_use", "message": f"The connector {one} needed it."} for one in needed)
        made = await self._make(reference, DELETE, before, None, asker, deleted, reasons)
        return RemovedCredential(
            reference=str(reference), version=version, left_without=needed, evidence_id=made.evidence_id
        )

    async def expiring(self, days: int, asker: Principal, *, leases: bool = False) -> Listing:
        """What has ended or ends within ``days``. What is lent is renewed or replaced without anybody's doing, so the
        ends of ``leases`` are among them only where they are asked for."""
        listing = await self.listed(asker)
        end = self._now() + days * credential_terms.DAY
        views = [self._lent(view) for view in listing.views] if leases else listing.views
        return listing._replace(views=[one for one in views if one.expires is not None and one.expires <= end])

    async def rotatable(self, asker: Principal) -> Listing:
        """What can be rotated where it is."""
        listing = await self.listed(asker)
        return listing._replace(views=[one for one in listing.views if one.changeable and one.state == "ok"])

    def theirs(self, held: Iterable[dict[str, Any]], asker: Principal) -> list[dict[str, Any]]:
        """Of what is held for calls (each with its ``place``), what is not the operator's."""
        return [row for row in held if self._bindings.may(asker, place_in(row["place"]))]

    def used_as(self, text: str, asker: Principal) -> tuple[Reference, ...]:
        """A credential as evidence may name it: itself, and the access tokens that are got with it."""
        if text.startswith("oauth://"):
            return (Reference("oauth", text.removeprefix("oauth://")),)
        reference = self._reference(text, asker)
        tokens = [
            Reference("oauth", one.id) for one in self._bindings.named().get(place_of(reference), ()) if one.oauth
        ]
        return (reference, *tokens)

    # what is asked of a store

    async def _of_store(self, scheme: str, named: Mapping[Place, tuple[Bound, ...]]) -> Listing:
        """What one store has, and what the configuration expects of it."""
        store = self._stores.get(scheme)
        faults: dict[str, StoreFault] = {}
        found: Sequence[About] = ()
        try:
            if store is None:
                raise _no_store(scheme)
            found = await store.list()
        except SidecarError as error:  # whatever it is, it hides no other store's
            fault = _fault(scheme, error)
            faults[fault.reason] = fault
        views = self._bindings.views(found)
        there = {place_of(about.reference) for about in found}
        for place in named:
            if place[0] == scheme and place not in there:
                reference = Reference(*place)
                # One after the other: a store that is away is waited for once.
                if store is None or not _ANSWERS.issuperset(faults):
                    views.append(self._bindings.unread(reference, UNREAD))
                else:
                    views.append(await self._sought(store, _fielded(reference, named), faults))
        return Listing(views, list(faults.values()))

    async def _sought(
        self, store: CredentialStore, reference: Reference, faults: dict[str, StoreFault]
    ) -> CredentialView:
        """What the configuration names and no list had: it may be there and not be listed."""
        try:
            return self._bindings.view(await store.about(reference))
        except Refused as error:
            state = MISSING if error.code == "unknown_credential" else UNREAD
        except Unavailable as error:
            state, fault = UNREAD, _fault(reference.scheme, error)
            faults[fault.reason] = fault
        return self._bindings.unread(Reference(reference.scheme, reference.locator), state)

    async def _before(self, reference: Reference, expected: str) -> About:
        """What is there now, which must be of the version ``expected``."""
        about = await self._store(reference).about(reference)
        if expected not in (ANY, about.version):
            raise Refused("conflict", "The credential has another version by now. Read it again, then change it.")
        return about

    async def _stored(
        self, reference: Reference, verb: str, before: About | None, secret: Secret, terms: Terms, asker: Principal
    ) -> CredentialView:
        # Before any record: what cannot be stored anywhere is a mistake in the request, not a change that failed.
        credential_terms.check_change(reference, secret, terms, self._now())
        store, expected = self._store(reference), None if before is None else before.version
        made = await self._make(
            reference, verb, before, terms, asker, lambda: store.store(reference, secret, terms, expected)
        )
        return replace(self._bindings.view(made.result), evidence_id=made.evidence_id)

    async def _make(
        self,
        reference: Reference,
        verb: str,
        before: About | None,
        after: Terms | None,
        asker: Principal,
        write: Callable[[], Awaitable[Any]],
        reasons: tuple[dict[str, str], ...] = (),
    ) -> Made[Any]:
        change = Change(
            kind=CREDENTIAL,
            id=str(reference),
            verb=verb,
            before=self._log.digest(None if before is None else msgspec.to_builtins(_terms(before))),
            after=self._log.digest(None if after is None else msgspec.to_builtins(after)),
        )

        def entry(about: About | None) -> Entry:
            version = None if about is None else about.version
            return Entry(change, CredentialUse(ref=str(reference), version=version), reasons)

        return await self._log.make(entry(before), Who(asker.id, asker.key), write, entry)

    def _lent(self, view: CredentialView) -> CredentialView:
        """With the end of the lease that ends first, if it is lent."""
        ends = [self._now() + int(kept.seconds * 1e6) for kept in view.held if kept.version.startswith(_LENT)]
        return replace(view, expires=min(ends)) if view.expires is None and ends else view

    def _store(self, reference: Reference) -> CredentialStore:
        store = self._stores.get(reference.scheme)
        if store is None:
            raise _no_store(reference.scheme)
        return store

    def _reference(self, text: str, asker: Principal) -> Reference:
        try:
            reference = references.parse_stored(text)
        except Misconfigured as error:
            raise Refused("invalid_payload", f"{error.detail}.") from None
        if reference.version is not None:
            raise Refused("invalid_payload", "Leave @version out: this is about the credential, not about a version.")
        if not self._bindings.may(asker, place_of(reference)):
            raise Refused("forbidden", "The sidecar itself logs in with this credential: its operator manages it.")
        return reference


def _fielded(reference: Reference, named: Mapping[Place, tuple[Bound, ...]]) -> Reference:
    """The reference with a field that the configuration reads there, which a store may want."""
    field = references.parse(named[place_of(reference)][0].reference).field
    return Reference(reference.scheme, reference.locator, field)


def _terms(about: About) -> Terms:
    return Terms(kind=about.kind, expires=about.expires, rotate_days=about.rotate_days)


def _no_store(scheme: str) -> Refused:
    return Refused("unknown_credential", f"No store of {scheme}:// credentials is configured here: add its section.")


def _fault(scheme: str, error: SidecarError) -> StoreFault:
    message = " ".join([error.detail, *(reason.message for reason in error.reasons)])
    reason = error.reasons[0].code if error.reasons else error.code
    return StoreFault(store=scheme, code=error.code, reason=reason, message=message)


def _unmade(fault: StoreFault) -> bool:
    """Whether it is a sealed store that nobody made: where nothing is kept there, nothing is missing."""
    return fault.reason == "store_misconfigured"
