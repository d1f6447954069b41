"""What each route of the administrators' door does: a request that passed its guard to an admin verb, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from sidecar.errors import Refused
from sidecar.listeners.admin_asked import Asked, Told, flag, limit_of, number
from sidecar.listeners.admin_credentials import CredentialAnswers
from sidecar.listeners.routes import OPERATOR
from sidecar.model.admin import Records
from sidecar.operations.operator.tenant import TenantRecord
from sidecar.operations.registered import page
from sidecar.operations.tenant.accesses import AccessLog
from sidecar.operations.tenant.connectors import Connectors
from sidecar.operations.tenant.credentials import Credentials
from sidecar.operations.tenant.evidence import Evidence
from sidecar.operations.tenant.keys import Keys
from sidecar.operations.tenant.planes import Planes
from sidecar.operations.tenant.policies import Policies
from sidecar.operations.tenant.principals import Principals
from sidecar.operations.tenant.sources import Sources
from sidecar.operations.tenant.switches import KillSwitches

View = TypeVar("View")
_OPERATORS_ONLY: Final = ("configuration", "doors")  # of the status: paths and addresses of the machine


class Verbs(NamedTuple):
    """The admin verbs, made by ``process``. ``openapi`` is given by the door itself."""

    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    connectors: Connectors
    sources: Sources
    planes: Planes
    principals: Principals
    keys: Keys
    evidence: Evidence
    tenant: TenantRecord
    switches: KillSwitches
    policies: Policies
    credentials: Credentials
    accesses: AccessLog


class AdminAnswers:
    """One method a route; the table ``listeners.admin_routes`` names them."""

    def __init__(self, verbs: Verbs, document: Callable[[], dict[str, Any]]) -> None:
        self._verbs = verbs
        self._document = document
        self.credentials = CredentialAnswers(verbs.credentials, verbs.accesses)

    async def openapi(self, _: Asked) -> Told:
        return Told(self._document())

    async def status(self, asked: Asked) -> Told:
        shown = self._verbs.status()
        if OPERATOR not in asked.principal.roles:
            shown = {name: value for name, value in shown.items() if name not in _OPERATORS_ONLY}
            shown["credentials"] = self._verbs.credentials.theirs(shown.get("credentials", ()), asked.principal)
        return Told(shown)

    async def reload(self, _: Asked) -> Told:
        return Told(await self._verbs.reload())

    # policy

    async def activations(self, _: Asked) -> Told:
        return Told(await self._verbs.policies.activations())

    async def activate_policy(self, asked: Asked) -> Told:
        body = asked.body
        return Told(await self._verbs.policies.activate(body.path, by=asked.principal.id, reason=body.reason))

    async def rollback_policy(self, asked: Asked) -> Told:
        body = asked.body
        return Told(await self._verbs.policies.rollback(body.to, by=asked.principal.id, reason=body.reason))

    # connectors

    async def list_connectors(self, asked: Asked) -> Told:
        views = self._verbs.connectors.listed()
        capability = asked.query.get("capability")
        chosen = [view for view in views if capability is None or capability in view.capabilities]
        return _page("connectors", _filtered(chosen, asked, "kind", "status", "declared"), asked)

    async def show_connector(self, asked: Asked) -> Told:
        return _versioned(self._verbs.connectors.shown(asked.at["connector"]))

    async def save_connector(self, asked: Asked) -> Told:
        view = await self._verbs.connectors.save(
            asked.at["connector"],
            asked.body,
            draft=flag(asked, "draft"),
            version=asked.version,
            by=asked.principal.id,
        )
        return _saved(view, asked)

    async def remove_connector(self, asked: Asked) -> Told:
        return Told(
            await self._verbs.connectors.remove(asked.at["connector"], version=_known(asked), by=asked.principal.id)
        )

    async def connect(self, asked: Asked) -> Told:
        return _versioned(
            await self._verbs.connectors.connect(
                asked.at["connector"],
                operation=asked.body.operation,
                parameters=asked.body.parameters,
                asker=asked.principal,
            )
        )

    async def disconnect(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.connectors.disconnect(asked.at["connector"], by=asked.principal.id))

    async def deprecate_connector(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.connectors.deprecate(asked.at["connector"], by=asked.principal.id))

    async def execute(self, asked: Asked) -> Told:
        body = asked.body
        outcome = await self._verbs.connectors.execute(
            asked.at["connector"], asked.at["operation"], body.parameters, body.idempotency_key, asked.principal
        )
        return Told(outcome=outcome)

    async def test(self, asked: Asked) -> Told:
        outcome = await self._verbs.connectors.execute(
            asked.at["connector"], asked.at["operation"], asked.body.parameters, None, asked.principal
        )
        return Told(outcome=outcome)

    async def health(self, asked: Asked) -> Told:
        return Told(self._verbs.connectors.health(asked.at["connector"]))

    async def statistics(self, asked: Asked) -> Told:
        return Told(self._verbs.connectors.statistics(asked.at["connector"]))

    # sources

    async def list_sources(self, asked: Asked) -> Told:
        views = _filtered(self._verbs.sources.listed(), asked, "type", "status", "connector", "declared")
        return _page("sources", views, asked)

    async def show_source(self, asked: Asked) -> Told:
        return _versioned(self._verbs.sources.shown(asked.at["source"]))

    async def save_source(self, asked: Asked) -> Told:
        view = await self._verbs.sources.save(
            asked.at["source"], asked.body, draft=flag(asked, "draft"), version=asked.version, by=asked.principal.id
        )
        return _saved(view, asked)

    async def remove_source(self, asked: Asked) -> Told:
        return Told(
            await self._verbs.sources.remove(asked.at["source"], version=_known(asked), by=asked.principal.id)
        )

    async def activate(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.sources.activate(asked.at["source"], by=asked.principal.id))

    async def deactivate(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.sources.deactivate(asked.at["source"], by=asked.principal.id))

    async def deprecate_source(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.sources.deprecate(asked.at["source"], by=asked.principal.id))

    async def test_source(self, asked: Asked) -> Told:
        outcome = await self._verbs.sources.test(
            asked.at["source"], asked.body.operation, asked.body.parameters, asked.principal
        )
        return Told(outcome=outcome)

    async def source_statistics(self, asked: Asked) -> Told:
        return Told(self._verbs.sources.statistics(asked.at["source"]))

    # planes

    async def list_planes(self, asked: Asked) -> Told:
        return _page("planes", _filtered(self._verbs.planes.listed(), asked, "source", "status", "declared"), asked)

    async def show_plane(self, asked: Asked) -> Told:
        return _versioned(self._verbs.planes.shown(asked.at["plane"]))

    async def save_plane(self, asked: Asked) -> Told:
        view = await self._verbs.planes.save(
            asked.at["plane"], asked.body, version=asked.version, by=asked.principal.id
        )
        return _saved(view, asked)

    async def remove_plane(self, asked: Asked) -> Told:
        return Told(await self._verbs.planes.remove(asked.at["plane"], version=_known(asked), by=asked.principal.id))

    async def enable(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.planes.enable(asked.at["plane"], by=asked.principal.id))

    async def disable(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.planes.disable(asked.at["plane"], by=asked.principal.id))

    # principals, roles, keys

    async def list_principals(self, asked: Asked) -> Told:
        role = asked.query.get("role")
        views = [view for view in self._verbs.principals.listed() if role is None or role in view.roles]
        return _page("principals", _filtered(views, asked, "kind", "declared"), asked)

    async def show_principal(self, asked: Asked) -> Told:
        return _versioned(self._verbs.principals.shown(asked.at["principal"]))

    async def save_principal(self, asked: Asked) -> Told:
        view = await self._verbs.principals.save(
            asked.at["principal"], asked.body, version=asked.version, asker=asked.principal
        )
        return _saved(view, asked)

    async def remove_principal(self, asked: Asked) -> Told:
        return Told(
            await self._verbs.principals.remove(asked.at["principal"], version=_known(asked), asker=asked.principal)
        )

    async def list_roles(self, asked: Asked) -> Told:
        views = self._verbs.principals.roles(asked.query.get("principal"))
        return _page("roles", views, asked, lambda view: f"{view.principal}:{view.role}")

    async def grant(self, asked: Asked) -> Told:
        return Told(await self._verbs.principals.grant(asked.at["principal"], asked.at["role"], asked.principal))

    async def revoke_role(self, asked: Asked) -> Told:
        return Told(await self._verbs.principals.revoke(asked.at["principal"], asked.at["role"], asked.principal))

    async def list_keys(self, asked: Asked) -> Told:
        return _page("keys", self._verbs.keys.listed(asked.query.get("principal")), asked)

    async def show_key(self, asked: Asked) -> Told:
        return _versioned(self._verbs.keys.shown(asked.at["key"]))

    async def make_key(self, asked: Asked) -> Told:
        made = await self._verbs.keys.make(asked.body.principal, asked.body.expires, asked.principal)
        return Told(made, 201, made.version)

    async def rotate(self, asked: Asked) -> Told:
        made = await self._verbs.keys.rotate(asked.at["key"], asked.body.grace_seconds, asked.principal)
        return Told(made, 201, made.version)

    async def expire(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.keys.expire(asked.at["key"], asked.body.at, asked.principal))

    async def revoke_key(self, asked: Asked) -> Told:
        return Told(await self._verbs.keys.revoke(asked.at["key"], asked.principal))

    # evidence

    async def list_evidence(self, asked: Asked) -> Told:
        before = asked.query.get("before")
        records, following = await self._verbs.evidence.recent(
            asked.query.get("principal"), limit_of(asked), None if before is None else number(before, "before")
        )
        return Told(Records(records=tuple(records), next=following))

    async def show_evidence(self, asked: Asked) -> Told:
        return Told(await self._verbs.evidence.one(asked.at["origin"], asked.at["index"]))

    # the tenant

    async def show_tenant(self, _: Asked) -> Told:
        return _versioned(self._verbs.tenant.shown())

    async def suspend(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.tenant.suspend(asked.body.reason, asked.principal.id))

    async def activate_tenant(self, asked: Asked) -> Told:
        return _versioned(await self._verbs.tenant.activate(asked.body.reason, asked.principal.id))

    # kill switches

    async def list_switches(self, asked: Asked) -> Told:
        return _page("switches", self._verbs.switches.listed(), asked, lambda view: f"{view.target}:{view.id}")

    async def set_switch(self, asked: Asked) -> Told:
        return Told(
            await self._verbs.switches.set(
                asked.at["target"], asked.at["id"], reason=asked.body.reason, asker=asked.principal
            )
        )

    async def clear_switch(self, asked: Asked) -> Told:
        return Told(await self._verbs.switches.clear(asked.at["target"], asked.at["id"], asker=asked.principal))


def _versioned(view: Any) -> Told:
    return Told(view, version=view.version)


def _saved(view: Any, asked: Asked) -> Told:
    return Told(view, 201 if asked.version is None else 200, view.version)


def _known(asked: Asked) -> int:
    if asked.version is None:
        raise Refused("precondition_required", "To remove something say If-Match with its version, as its ETag does.")
    return asked.version


def _filtered(views: Iterable[View], asked: Asked, *names: str) -> list[View]:
    """Those whose fields are as the query says; ``declared`` is true or false."""
    wanted: dict[str, object] = {name: asked.query[name] for name in names if name in asked.query}
    if "declared" in wanted:
        wanted["declared"] = flag(asked, "declared")
    return [view for view in views if all(getattr(view, name) == value for name, value in wanted.items())]


def _page(
    name: str, views: Iterable[View], asked: Asked, key: Callable[[Any], str] = lambda view: str(view.id)
) -> Told:
    listed, following = page(views, key, limit_of(asked), asked.query.get("after"))
    return Told({name: listed, "next": following})
