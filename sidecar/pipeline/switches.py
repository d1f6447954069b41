"""Kill switches: what they stop is refused before the policy is asked, and open streams are cut.

The state is in memory, so no call waits for the registry; whoever follows the registry hands in its rows and says
when they were read. State that was never read, or not for longer than ``maximum_age``, stops everything: a switch
that could not be seen might be set (fail closed).
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final

from sidecar.errors import Refused, SidecarError, Unavailable
from sidecar.model.principal import Principal
from sidecar.model.registry import CONNECTOR, KEY, PRINCIPAL, SWITCH, TARGETS, TENANT, Row, Switch
from sidecar.pipeline.identify import still
from sidecar.rules.catalogue import Catalogue

_NOUNS: Final = {TENANT: "tenant", KEY: "API key", PRINCIPAL: "principal", CONNECTOR: "connector"}


class Cut:
    """An open stream. ``error`` is why it was stopped; ``task`` carries it, from its first step on."""

    __slots__ = ("connector", "error", "principal", "task")

    def __init__(self, principal: Principal, connector: str) -> None:
        self.principal = principal
        self.connector = connector
        self.error: SidecarError | None = None
        self.task: asyncio.Task[object] | None = None

    def stop(self, error: SidecarError) -> None:
        """End the stream with ``error``, wherever it waits: for the upstream, for evidence, or for its reader."""
        if self.error is None:
            self.error = error
            if self.task is not None:
                self.task.cancel()


class Switches:
    """The switches of one tenant. Times are seconds of a monotonic clock; so is ``maximum_age``."""

    def __init__(self, maximum_age: float) -> None:
        self._maximum_age = maximum_age
        self._set: dict[str, dict[str, Switch]] = {target: {} for target in TARGETS}
        self._known_at = -inf
        self._open: set[Cut] = set()
        self.names: tuple[str, ...] = ()  # ``target:id`` of each, in order, as policy sees them

    # What the follower of the registry tells

    def take(self, row: Row) -> None:
        """A row as it is now; only those of switches count."""
        if row.kind != SWITCH:
            return
        target, _, id = row.id.partition(":")
        if target not in self._set:  # of a later version: it stops what this one does not have
            return
        if row.deleted:
            self._set[target].pop(id, None)
        else:
            reason = row.document.get("reason")
            # A switch whose text cannot be read is set all the same.
            self._set[target][id] = Switch(
                target=target, id=id, reason=reason if isinstance(reason, str) else "", by=row.by, at=row.at
            )
        self.names = tuple(sorted(f"{kind}:{name}" for kind, by_id in self._set.items() for name in by_id))
        for cut in [*self._open]:
            found = self._found(cut.principal, cut.connector)
            if found is not None:
                cut.stop(_killed(found))

    def forget(self) -> None:
        """What was known is of another history of the registry; all of its rows follow."""
        for by_id in self._set.values():
            by_id.clear()
        self.names = ()

    def known(self, at: float) -> None:
        """Every row that was there at ``at`` has been taken."""
        self._known_at = at

    def unknown(self, now: float) -> None:
        """The registry could not be read. Once what is known is too old, open streams end too."""
        if self.is_stale(now):
            for cut in [*self._open]:
                cut.stop(_stale())

    def serve(self, catalogue: Catalogue) -> None:
        """Calls are governed by ``catalogue`` now: the streams of whom it lets in no more end."""
        for cut in [*self._open]:
            try:
                still(cut.principal, catalogue)
            except Refused as refused:
                cut.stop(refused)

    # What the path asks

    def admit(self, principal: Principal, now: float) -> None:
        """Raises ``Refused("killed")`` where the tenant, the key or the principal is stopped, and
        ``Unavailable("registry_unavailable")`` where that is not known."""
        self.check_known(now)
        if self.names:
            self.check(principal, None)

    def check_known(self, now: float) -> None:
        """Raises ``Unavailable("registry_unavailable")`` where it is not known what is stopped."""
        if now - self._known_at > self._maximum_age:
            raise _stale()

    def check(self, principal: Principal, connector: str | None) -> None:
        """Raises ``Refused("killed")`` where any of it, or the connector, is stopped by now."""
        if self.names:
            found = self._found(principal, connector)
            if found is not None:
                raise _killed(found)

    def open(self, principal: Principal, connector: str) -> Cut:
        """A stream begins; ``close`` ends it. Raises as ``check`` does."""
        self.check(principal, connector)
        cut = Cut(principal, connector)
        self._open.add(cut)
        return cut

    def close(self, cut: Cut) -> None:
        """The stream has ended and cannot be cut any more."""
        self._open.discard(cut)

    # What people are shown

    def listed(self) -> list[Switch]:
        """Every switch that is set, by target and id."""
        return [by_id[name] for by_id in self._set.values() for name in sorted(by_id)]

    def age(self, now: float) -> float:
        """Seconds since the registry was last read; infinite before the first time."""
        return now - self._known_at

    def is_stale(self, now: float) -> bool:
        """Whether so little is known that every call is refused."""
        return now - self._known_at > self._maximum_age

    def _found(self, principal: Principal, connector: str | None) -> Switch | None:
        by = self._set
        return (
            by[TENANT].get(principal.tenant)
            or (by[KEY].get(principal.key) if principal.key is not None else None)
            or by[PRINCIPAL].get(principal.id)
            or (by[CONNECTOR].get(connector) if connector is not None else None)
        )


def _killed(switch: Switch) -> Refused:
    """What is stopped and why; who stopped it is for administrators."""
    why = switch.reason or "no reason was given"
    return Refused(
        "killed",
        f"The {_NOUNS[switch.target]} {switch.id!r} is stopped by a kill switch: {why}. "
        "An administrator of the tenant can clear it.",
    )


def _stale() -> Unavailable:
    return Unavailable(
        "registry_unavailable",
        "Whether a kill switch is set is not known, because the registry does not answer; nothing is allowed until "
        "it does. Try again.",
    )
