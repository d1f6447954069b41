"""Principals and the roles they are granted (M26).

Who is no operator cannot make one: neither a role, nor a principal, nor a key of an operator is theirs to change
(INV-6).
"""

from __future__ import annotations

from typing import Any, Final

from sidecar.config.sections import PrincipalSection
from sidecar.errors import Refused
from sidecar.model.admin import PrincipalView, Removed, RoleView
from sidecar.model.principal import Principal
from sidecar.model.registry import KEY, PRINCIPAL, ROLE
from sidecar.operations.registered import Register, Registered, unknown

OPERATOR: Final = "operator"


def check_standing(asker: Principal, *roles: tuple[str, ...]) -> None:
    """Raises ``Refused("forbidden")`` where operators are concerned and the asker is none."""
    if OPERATOR not in asker.roles and any(OPERATOR in each for each in roles):
        raise Refused("forbidden", "Only an operator may change who operators are, and their keys; or stop them.")


class Principals:
    """Callers of the tenant, and their roles."""

    def __init__(self, registered: Registered, register: Register) -> None:
        self._registered = registered
        self._register = register

    def listed(self) -> list[PrincipalView]:
        """Every principal, declared or registered, by id."""
        stored = {row.id for row in self._registered.of(PRINCIPAL)}
        return [self.shown(id) for id in sorted(stored | set(self._registered.declared.principals))]

    def shown(self, id: str) -> PrincipalView:
        """One principal. Raises ``Refused("unknown_principal")``."""
        served = self._registered.combined.config.principals.get(id)
        declared = self._registered.is_declared(PRINCIPAL, id)
        row = None if declared else self._registered.row(PRINCIPAL, id)
        if row is None and not declared:
            raise unknown(PRINCIPAL, id)
        section = served or (self._registered.declared.principals[id] if declared else PrincipalSection())
        return PrincipalView(
            id=id,
            kind=section.kind,
            tenant=section.tenant or self._registered.declared.tenant,
            roles=section.roles,
            labels=section.labels,
            keys=tuple(key.id for key in section.keys),
            declared=declared,
            version=row.version if row else None,
            by=row.by if row else None,
            at=row.at if row else None,
            problems=self._registered.problems(PRINCIPAL, id),
        )

    def roles_of(self, id: str) -> tuple[str, ...]:
        """Every role it has or would have: its own and granted ones, also those of a row that is not served now."""
        declared = self._registered.declared.principals.get(id)
        row = self._registered.row(PRINCIPAL, id)
        own = declared.roles if declared else _roles(row.document["section"]) if row else ()
        return (*own, *(row.document["role"] for row in self._registered.of(ROLE) if row.document["principal"] == id))

    async def save(self, id: str, section: dict[str, Any], *, version: int | None, asker: Principal) -> PrincipalView:
        """Register a principal or give it a new document, without keys: those are made by themselves."""
        check_standing(asker, _roles(section), self.roles_of(id))
        if version is None and not self._is_there(id):
            await self._clear(id, asker)  # what an earlier one of that id left is not for this one
        await self._register.put(PRINCIPAL, id, lambda _: {"section": section}, version=version, by=asker.id)
        return self.shown(id)

    async def remove(self, id: str, *, version: int, asker: Principal) -> Removed:
        """Take a principal away, with its roles and keys: nothing of it is there for the next one of that id."""
        check_standing(asker, self.roles_of(id))
        self._register.expect(PRINCIPAL, id, version)
        await self._clear(id, asker)
        changed = await self._register.remove(PRINCIPAL, id, version=version, by=asker.id)
        return Removed(id=id, version=changed.row.version, evidence_id=changed.evidence_id)

    def _is_there(self, id: str) -> bool:
        return self._registered.is_declared(PRINCIPAL, id) or self._registered.row(PRINCIPAL, id) is not None

    async def _clear(self, id: str, asker: Principal) -> None:
        for row in (*self._registered.of(KEY), *self._registered.of(ROLE)):
            if row.document["principal"] == id:
                await self._register.remove(row.kind, row.id, version=row.version, by=asker.id)

    def roles(self, principal: str | None = None) -> list[RoleView]:
        """Every role that principals have, of one of them or of all, by principal and role."""
        views = [
            RoleView(principal=id, role=role, declared=True)
            for id, section in self._registered.declared.principals.items()
            for role in section.roles
        ]
        for row in self._registered.of(PRINCIPAL):
            if not self._registered.is_declared(PRINCIPAL, row.id):
                views += [
                    RoleView(principal=row.id, role=role, declared=False, by=row.by, at=row.at)
                    for role in _roles(row.document["section"])
                ]
        views += [
            RoleView(
                principal=row.document["principal"], role=row.document["role"], declared=False, by=row.by, at=row.at
            )
            for row in self._registered.of(ROLE)
        ]
        chosen = (view for view in views if principal is None or view.principal == principal)
        return sorted(chosen, key=lambda view: (view.principal, view.role))

    async def grant(self, principal: str, role: str, asker: Principal) -> RoleView:
        """Give a principal a role; one it has already stays as it is."""
        view = self.shown(principal)
        check_standing(asker, (role,), self.roles_of(principal))
        if role not in view.roles:
            document = {"principal": principal, "role": role}
            await self._register.put(ROLE, _role_id(principal, role), lambda _: document, version=None, by=asker.id)
        return next(each for each in self.roles(principal) if each.role == role)

    async def revoke(self, principal: str, role: str, asker: Principal) -> Removed:
        """Take a granted role back. Raises ``Refused``: unknown_role; declared where sidecar.yaml says so."""
        view = self.shown(principal)
        check_standing(asker, (role,), self.roles_of(principal))
        row = self._registered.row(ROLE, _role_id(principal, role))
        if row is None:
            if role in view.roles:
                where = "sidecar.yaml" if view.declared else "its own document: change the principal"
                raise Refused("declared", f"The role {role!r} of {principal!r} is not a grant; it stands in {where}.")
            raise Refused("unknown_role", f"The principal {principal!r} was not granted the role {role!r}.")
        changed = await self._register.remove(ROLE, row.id, version=row.version, by=asker.id)
        return Removed(id=row.id, version=changed.row.version, evidence_id=changed.evidence_id)


def _roles(section: dict[str, Any]) -> tuple[str, ...]:
    """Those that a document names, which nobody may have checked yet."""
    roles = section.get("roles")
    return tuple(map(str, roles)) if isinstance(roles, list) else ()


def _role_id(principal: str, role: str) -> str:
    return f"{principal}:{role}"
