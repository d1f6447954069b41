"""List, show and test the configured connectors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sidecar.errors import Refused
from sidecar.model.call import Call, Outcome
from sidecar.model.principal import Principal
from sidecar.model.registry import ConnectorView, Statistics
from sidecar.rules.catalogue import Catalogue, Connector

# Who a test runs as: policy sees and judges it like any caller, so a test needs a grant too. No id of a configuration
# has a colon, so no configured principal can be granted what is granted to a test, or the other way round.
TESTER_ID = "system:admin"
TESTER_ROLES = ("tenant-admin",)


class Connectors:
    """``handle`` is the one path, handed in by wiring; ``catalogue`` and ``statistics`` give the moment's values."""

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        statistics: Callable[[str], Statistics],
        handle: Callable[[Call], Awaitable[Outcome]],
        new_id: Callable[[], str],
    ) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._handle = handle
        self._new_id = new_id

    def listed(self) -> list[ConnectorView]:
        """Every connector, by id."""
        return [self._view(connector) for _, connector in sorted(self._catalogue().connectors.items())]

    def shown(self, connector: str) -> ConnectorView:
        """One connector. Raises ``Refused("unknown_connector")``."""
        known = self._catalogue().connectors.get(connector)
        if known is None:
            raise Refused("unknown_connector", f"No connector {connector!r} is configured.")
        return self._view(known)

    async def test(self, connector: str, operation: str, parameters: Any) -> Outcome:
        """Run one operation through the one path, as a system principal that policy must grant."""
        call = Call(
            id=self._new_id(),
            surface="admin",
            action="execute",
            connector=connector,
            operation=operation,
            parameters=parameters,
            principal=Principal(
                id=TESTER_ID, kind="system", tenant=self._catalogue().tenant, roles=TESTER_ROLES, labels={}
            ),
            peer="admin.sock",
        )
        return await self._handle(call)

    def _view(self, connector: Connector) -> ConnectorView:
        statistics = self._statistics(connector.id)
        return ConnectorView(
            id=connector.id,
            kind=connector.kind,
            status=statistics.status,
            base_url=connector.section.base_url,
            credential=str(connector.binding.reference) if connector.binding else None,
            labels=connector.section.labels,
            operations=tuple(sorted(connector.operations)),
            statistics=statistics,
        )
