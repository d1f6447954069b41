"""Where the configuration binds credentials: which names of ``sidecar.yaml``, connectors and places of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sidecar.config.sections import Config
from sidecar.model.admin import Bound, CredentialView, HeldVersion
from sidecar.model.credential import About, Reference
from sidecar.model.principal import Principal
from sidecar.model.registry import CONNECTOR
from sidecar.operations.registered import Registered
from sidecar.rules import credential_terms
from sidecar.rules.registered import Combined

OPERATOR: Final = "operator"

Place = tuple[str, str]  # scheme and locator: what has one version and one set of terms


class Bindings:
    """``held`` gives the remote versions that are kept for calls: ``place``, ``version``, ``seconds``."""

    def __init__(
        self, registered: Registered, held: Callable[[], list[dict[str, Any]]], now: Callable[[], int]
    ) -> None:
        self._registered = registered
        self._held = held
        self._now = now
        self._read: Combined | None = None  # what the two tables below were made of
        self._named: dict[Place, tuple[Bound, ...]] = {}
        self._users: dict[Place, tuple[str, ...]] = {}

    def named(self) -> Mapping[Place, tuple[Bound, ...]]:
        """What the configuration calls each place."""
        self._look()
        return self._named

    def used_by(self, place: Place) -> tuple[str, ...]:
        """The connectors in service that need a credential."""
        self._look()
        return self._users.get(place, ())

    def may(self, asker: Principal, place: Place) -> bool:
        """Whether it is theirs: what the sidecar itself logs in with is its operator's."""
        return OPERATOR in asker.roles or place not in _own_places(self._registered.declared)

    def view(self, about: About) -> CredentialView:
        """What people see of a credential."""
        return self.views([about])[0]

    def views(self, found: Iterable[About]) -> list[CredentialView]:
        """The same of many."""
        now, held = self._now(), self._held_versions()
        return [self._view(about, now, held.get(place_of(about.reference), ())) for about in found]

    def unread(self, reference: Reference, state: str) -> CredentialView:
        """A credential of which only the configuration is known."""
        place = place_of(reference)
        return CredentialView(
            reference=str(reference),
            kind=None,
            version=None,
            state=state,
            changeable=False,
            bindings=self.named().get(place, ()),
            used_by=self.used_by(place),
        )

    def _view(self, about: About, now: int, held: tuple[HeldVersion, ...]) -> CredentialView:
        place = place_of(about.reference)
        return CredentialView(
            reference=str(about.reference),
            kind=about.kind,
            version=about.version,
            state=about.state,
            changeable=about.changeable,
            created=about.created,
            updated=about.updated,
            expires=about.expires,
            expired=about.expires is not None and about.expires <= now,
            rotate_days=about.rotate_days,
            overdue_days=credential_terms.overdue_days(about, now),
            bindings=self.named().get(place, ()),
            used_by=self.used_by(place),
            held=held,
        )

    def _held_versions(self) -> dict[Place, tuple[HeldVersion, ...]]:
        found: dict[Place, tuple[HeldVersion, ...]] = {}
        for row in self._held():
            place = place_in(row["place"])
            found[place] = (*found.get(place, ()), HeldVersion(version=row["version"], seconds=row["seconds"]))
        return found

    def _look(self) -> None:
        """Read what is served, if it is another than was read last."""
        combined = self._registered.combined
        if combined is self._read:
            return
        named: dict[Place, tuple[Bound, ...]] = {}
        places: dict[str, Place] = {}
        for name, section in combined.config.credentials.items():
            bound = Bound(
                id=name,
                reference=section.reference,
                hosts=section.hosts,
                connectors=section.connectors,
                positions=section.positions,
                oauth=section.oauth is not None,
            )
            place = places[name] = place_in(section.reference)
            named[place] = (*named.get(place, ()), bound)
        users: dict[Place, tuple[str, ...]] = {}
        for name, connector in sorted(combined.config.connectors.items()):
            if connector.auth is not None and (CONNECTOR, name) not in combined.standing.inactive:
                place = places[connector.auth.credential]
                users[place] = (*users.get(place, ()), name)
        self._read, self._named, self._users = combined, named, users


def place_of(reference: Reference) -> Place:
    """What it shares a version and terms with."""
    return reference.scheme, reference.locator


def place_in(text: str) -> Place:
    """The same of a reference that was checked before, as text: ``vault://path@3#field`` is at ``path``."""
    scheme, _, rest = text.partition("://")
    return scheme, rest.partition("#")[0].partition("@")[0]


def _own_places(config: Config) -> set[Place]:
    server, bundle = config.policy.server, config.policy.bundle
    texts = [server.token if server else None, bundle.token if bundle else None, config.registry.postgres]
    return {place_in(text) for text in texts if text is not None}
