"""The administrators' door and its verbs, built for one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from sidecar.config.load import Loaded
from sidecar.config.sections import Config
from sidecar.errors import SidecarError
from sidecar.listeners.admin import AdminDoor
from sidecar.listeners.admin_answers import Verbs
from sidecar.listeners.admin_tls import admin_context, names_of
from sidecar.model.registry import CONNECTOR, KEY, PRINCIPAL, Row, Statistics
from sidecar.operations.changes import Changes
from sidecar.operations.operator.tenant import TenantRecord
from sidecar.operations.registered import Register, Registered
from sidecar.operations.tenant.connectors import Connectors
from sidecar.operations.tenant.evidence import Evidence
from sidecar.operations.tenant.keys import Keys, Use
from sidecar.operations.tenant.planes import Planes
from sidecar.operations.tenant.policies import BundlePolicies, Policies
from sidecar.operations.tenant.principals import Principals
from sidecar.operations.tenant.sources import Sources
from sidecar.operations.tenant.switches import KillSwitches
from sidecar.pipeline.handle import handle
from sidecar.pipeline.parts import Parts
from sidecar.ports import RegistryStore
from sidecar.rules.registered import Combined
from sidecar.wiring import split

ROWS_AT_ONCE: Final = 500


class Around(NamedTuple):
    """What the process gives its administrators beside the path's parts.

    ``declared`` is the file's configuration of the moment; ``serve`` serves it together with what is registered.
    """

    declared: Callable[[], Config]
    serve: Callable[[], Awaitable[Combined]]
    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    bundles: BundlePolicies | None
    connections: Callable[[str], tuple[int, int, int]]
    new_id: Callable[[], str]


class Administration:
    """``door`` is where administrators ask; ``registered`` what they registered, as it is served."""

    def __init__(self, parts: Parts, store: RegistryStore, around: Around) -> None:
        self._parts = parts
        self._store = store
        self._sequence = 0  # of the registry's newest row that was read
        tenant = parts.catalogue.tenant
        self.registered = Registered(around.declared, around.serve)
        changes = Changes(store, parts.evidence, tenant, around.new_id, self.noticed)
        register = Register(self.registered, changes)
        connectors = Connectors(
            catalogue=lambda: parts.catalogue,
            statistics=lambda name: parts.traffic[name].statistics() if name in parts.traffic else Statistics(),
            connections=around.connections,
            handle=lambda call: handle(parts, call),
            new_id=around.new_id,
            registered=self.registered,
            register=register,
        )
        principals = Principals(self.registered, register)
        self.verbs = Verbs(
            status=around.status,
            reload=around.reload,
            connectors=connectors,
            sources=Sources(self.registered, register, connectors),
            planes=Planes(self.registered, register),
            principals=principals,
            keys=Keys(self.registered, register, principals, parts.clock.now, lambda _: Use()),
            evidence=Evidence(parts.reader, parts.evidence.origin, tenant),
            tenant=TenantRecord(self.registered, register),
            switches=KillSwitches(store, changes, tenant, parts.switches.listed, self._is_known),
            policies=Policies(around.bundles),
        )
        self.door = AdminDoor(parts, around.new_id, self.verbs)

    async def follow(self) -> None:
        """Take what changed in the registry since the last look, and serve it. Raises what the store does."""
        now = self._parts.clock.monotonic()
        try:
            while rows := await self._store.changes(self._sequence, ROWS_AT_ONCE):
                for row in rows:
                    self.noticed(row)
                self._sequence = rows[-1].sequence
        except SidecarError:
            self._parts.switches.unknown(now)
            raise
        self._parts.switches.known(now)
        await self.registered.refresh()

    def _is_known(self, target: str, id: str) -> bool:
        catalogue = self._parts.catalogue
        known: dict[str, Mapping[str, object]] = {
            CONNECTOR: catalogue.connectors,
            PRINCIPAL: catalogue.principals,
            KEY: catalogue.keys,
        }
        return id in known.get(target, {})

    def noticed(self, row: Row) -> None:
        """A row of the registry was read or written."""
        self._parts.switches.take(row)
        self.registered.noticed(row)

    async def open(self, loaded: Loaded) -> int | None:
        """Open the socket, and TCP where it is configured: its port. Raises ``Misconfigured``."""
        doors = loaded.config.doors
        await self.door.start(loaded.resolve(doors.admin_socket))
        if doors.admin is None:
            return None
        host, port = split(doors.admin)
        section = doors.admin_tls
        if section is None:
            return await self.door.listen(host, port, None)
        certificate = loaded.resolve(section.certificate)
        client_ca = loaded.resolve(section.client_ca) if section.client_ca else None
        tls = admin_context(certificate, loaded.resolve(section.key), client_ca)
        return await self.door.listen(host, port, tls, names_of(certificate))
