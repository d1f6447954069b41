"""What the routes of the credential service do: a request that passed its guard to a verb, and back.

A reference is given in the query (``?reference=vault%3A%2F%2Fsecret%2Facme%2Fcrm%23token``) and not in the path: it
has slashes, and an encoded slash in a path is decoded, refused or taken for a separator by one proxy or another
(RFC 3986 section 2.2), while a query is handed on as it is and decoded once. Its ``#`` must be encoded in both.

An ETag is the version as the credential's store has it, in quotes: a number, a version id, a digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.errors import Refused
from sidecar.listeners.admin_asked import Asked, Told, flag, limit_of, number
from sidecar.model.admin import Accesses, CredentialPage, CredentialView
from sidecar.model.credential import Terms
from sidecar.operations.registered import page
from sidecar.operations.tenant.accesses import AccessLog, Wanted
from sidecar.operations.tenant.credentials import Credentials, Listing

_DAYS: Final = 30
_MOST_DAYS: Final = 36_500
_LAST: Final = 1 << 62  # after everything that has an end


class CredentialAnswers:
    """One method a route; the table ``listeners.admin_routes`` names them."""

    def __init__(self, credentials: Credentials, accesses: AccessLog) -> None:
        self._credentials = credentials
        self._accesses = accesses

    async def list(self, asked: Asked) -> Told:
        listing = await self._credentials.listed(asked.principal, asked.query.get("scheme"))
        wanted = {name: asked.query[name] for name in ("kind", "state") if name in asked.query}
        connector = asked.query.get("connector")
        views = [
            view
            for view in listing.views
            if all(getattr(view, name) == value for name, value in wanted.items())
            and (connector is None or connector in view.used_by)
        ]
        return _paged(listing._replace(views=views), asked, lambda view: view.reference)

    async def expiring(self, asked: Asked) -> Told:
        days = number(asked.query["days"], "days") if "days" in asked.query else _DAYS
        if days > _MOST_DAYS:
            raise Refused("invalid_payload", f"days is a number from 0 to {_MOST_DAYS}.")
        listing = await self._credentials.expiring(days, asked.principal, leases=flag(asked, "leases"))
        return _paged(listing, asked, lambda view: f"{view.expires or 0:020} {view.reference}")

    async def rotatable(self, asked: Asked) -> Told:
        listing = await self._credentials.rotatable(asked.principal)
        return _paged(listing, asked, lambda view: f"{_due(view):020} {view.reference}")

    async def show(self, asked: Asked) -> Told:
        return _versioned(await self._credentials.shown(_reference(asked), asked.principal))

    async def save(self, asked: Asked) -> Told:
        view = await self._credentials.save(
            _reference(asked), asked.body.value, asked.body.terms, expected=asked.tag, asker=asked.principal
        )
        return Told(view, 201 if asked.tag is None else 200, view.version)

    async def rotate(self, asked: Asked) -> Told:
        given = Terms(expires=asked.body.expires)
        view = await self._credentials.rotate(
            _reference(asked), asked.body.value, given, expected=_tag(asked), asker=asked.principal
        )
        return _versioned(view)

    async def amend(self, asked: Asked) -> Told:
        view = await self._credentials.amend(
            _reference(asked), asked.body.over, expected=_tag(asked), asker=asked.principal
        )
        return _versioned(view)

    async def delete(self, asked: Asked) -> Told:
        removed = await self._credentials.delete(
            _reference(asked), force=flag(asked, "force"), expected=_tag(asked), asker=asked.principal
        )
        return Told(removed)

    async def log(self, asked: Asked) -> Told:
        query = asked.query
        named = query.get("reference")
        wanted = Wanted(
            references=None if named is None else self._credentials.used_as(named, asked.principal),
            version=query.get("version"),
            principal=query.get("principal"),
            connector=query.get("connector"),
            since=number(query["since"], "since") if "since" in query else None,
        )
        before = number(query["before"], "before") if "before" in query else None
        found, following = await self._accesses.recent(wanted, limit_of(asked), before)
        return Told(Accesses(accesses=tuple(found), next=following))


def _reference(asked: Asked) -> str:
    if "reference" not in asked.query:
        raise Refused("invalid_payload", "Say which credential: ?reference=, percent-encoded (# is %23).")
    return asked.query["reference"]


def _tag(asked: Asked) -> str:
    if asked.tag is None:
        raise Refused(
            "precondition_required", "This changes what is there: say If-Match with the ETag that was read."
        )
    return asked.tag


def _versioned(view: CredentialView) -> Told:
    return Told(view, version=view.version)


def _due(view: CredentialView) -> int:
    """The most overdue first; what nobody promised to rotate comes last. Microseconds, above 0."""
    if view.overdue_days is None:
        return _LAST
    return (1 << 60) - int(view.overdue_days * 86_400_000_000)


def _paged(listing: Listing, asked: Asked, key: Callable[[CredentialView], str]) -> Told:
    views, following = page(listing.views, key, limit_of(asked), asked.query.get("after"))
    return Told(CredentialPage(credentials=tuple(views), faults=tuple(listing.faults), next=following))
