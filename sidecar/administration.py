"""The administrators' door and its verbs, built for one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

from sidecar.config.load import Loaded
from sidecar.config.sections import Config
from sidecar.listeners.admin import AdminDoor
from sidecar.listeners.admin_answers import Verbs
from sidecar.listeners.admin_tls import admin_context, names_of
from sidecar.model.registry import CONNECTOR, KEY, PRINCIPAL, Row, Statistics
from sidecar.operations.changes import ChangeLog, Changes
from sidecar.operations.following import Follower
from sidecar.operations.operator.tenant import TenantRecord
from sidecar.operations.registered import Register, Registered
from sidecar.operations.tenant.accesses import AccessLog
from sidecar.operations.tenant.bindings import Bindings
from sidecar.operations.tenant.connectors import Connectors
from sidecar.operations.tenant.credentials import Credentials
from sidecar.operations.tenant.evidence import Evidence
from sidecar.operations.tenant.keys import Keys
from sidecar.operations.tenant.planes import Planes
from sidecar.operations.tenant.policies import BundlePolicies, Policies
from sidecar.operations.tenant.principals import Principals
from sidecar.operations.tenant.sources import Sources
from sidecar.operations.tenant.switches import KillSwitches
from sidecar.pipeline.handle import handle
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.switches import Switches
from sidecar.ports import CredentialStore, RegistryStore
from sidecar.rules.registered import Combined
from sidecar.wiring import split


class Around(NamedTuple):
    """What the process gives its administrators beside the path's parts.

    ``declared`` is the file's configuration of the moment; ``serve`` serves it together with what is registered.
    ``stores`` keep credentials, by scheme; ``held`` are the remote ones that are kept for calls. ``unknown`` are the
    intents that an ended process left without an outcome.
    """

    declared: Callable[[], Config]
    serve: Callable[[], Awaitable[Combined]]
    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    bundles: BundlePolicies | None
    connections: Callable[[str], tuple[int, int, int]]
    new_id: Callable[[], str]
    stores: Mapping[str, CredentialStore]
    held: Callable[[], list[dict[str, Any]]]
    unknown: Callable[[], Collection[int]]


class _Taker:
    """Hands what changed to the switches and to what is registered.

    Before what was registered is served for the first time nothing counts as known: a tenant that is suspended there
    is denied from the first call on, also where the registry came later than the sidecar.
    """

    def __init__(self, switches: Switches, registered: Registered) -> None:
        self._switches = switches
        self._registered = registered
        self._read_at: float | None = None

    def take(self, row: Row) -> None:
        self._switches.take(row)
        self._registered.noticed(row)

    def forget(self) -> None:
        self._switches.forget()
        self._registered.forget()

    def known(self, at: float) -> None:
        self._read_at = at
        self.settle()

    def settle(self) -> None:
        """Once everything was read and is served, it is known."""
        if self._read_at is not None and self._registered.is_served():
            self._switches.known(self._read_at)

    def unknown(self, now: float) -> None:
        self._switches.unknown(now)


class Administration:
    """``door`` is where administrators ask; ``registered`` what they registered, as it is served."""

    def __init__(self, parts: Parts, store: RegistryStore, around: Around) -> None:
        self._parts = parts
        tenant = parts.catalogue.tenant
        self.registered = Registered(around.declared, around.serve)
        self._taker = _Taker(parts.switches, self.registered)
        self._follower = Follower(store, parts.clock, parts.observer, self._taker)
        changes = Changes(store, parts.evidence, tenant, around.new_id, self._follower.notice)
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
        keys = Keys(self.registered, register, principals, parts.clock.now, parts.uses.of)
        self.verbs = Verbs(
            status=around.status,
            reload=around.reload,
            connectors=connectors,
            sources=Sources(self.registered, register, connectors),
            planes=Planes(self.registered, register),
            principals=principals,
            keys=keys,
            evidence=Evidence(parts.reader, parts.evidence.origin, tenant),
            tenant=TenantRecord(self.registered, register),
            switches=KillSwitches(
                store,
                changes,
                tenant,
                parts.switches.listed,
                self._is_known,
                lambda target, id: principals.roles_of(id) if target == PRINCIPAL else keys.roles_of(id),
            ),
            policies=Policies(around.bundles),
            credentials=Credentials(
                around.stores,
                Bindings(self.registered, around.held, parts.clock.now),
                ChangeLog(parts.evidence, tenant, around.new_id),
                parts.clock.now,
            ),
            accesses=AccessLog(parts.reader, tenant, around.unknown),
        )
        self.door = AdminDoor(parts, around.new_id, self.verbs)

    async def follow(self) -> None:
        """Take what changed in the registry since the last look: switches are in force, the rest is to be served by
        ``refresh``, which takes its time. Raises what the store does."""
        await self._follower.look()

    async def refresh(self) -> None:
        """Serve what was registered since. Raises what ``Around.serve`` does."""
        await self.registered.refresh()
        self._taker.settle()

    def _is_known(self, target: str, id: str) -> bool:
        catalogue = self._parts.catalogue
        known: dict[str, Mapping[str, object]] = {
            CONNECTOR: catalogue.connectors,
            PRINCIPAL: catalogue.principals,
            KEY: catalogue.keys,
        }
        return id in known.get(target, {})

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
