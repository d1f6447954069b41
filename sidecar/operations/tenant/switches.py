"""Set, clear and list kill switches: of the tenant, an API key, a principal or a connector; who, when and why.

A switch is in force here when it is acknowledged, and in every other sidecar of the same registry at its next look,
within a second. To set or clear one is a change of the registry like any other: recorded before and after. Those of
an operator, and of their keys, are for operators (INV-6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.errors import Refused
from sidecar.model.admin import Removed
from sidecar.model.principal import Principal
from sidecar.model.registry import CONNECTOR, KEY, PRINCIPAL, SWITCH, TARGETS, TENANT, Row, Switch
from sidecar.operations.changes import Changed, Changes
from sidecar.operations.tenant.principals import check_standing
from sidecar.ports import RegistryStore

LONGEST_REASON: Final = 500  # characters
MOST_SET: Final = 1000  # policy sees them all; who must stop more stops the tenant
_TRIES: Final = 3
_UNKNOWN: Final = {KEY: "unknown_key", PRINCIPAL: "unknown_principal", CONNECTOR: "unknown_connector"}


class KillSwitches:
    """``shown`` gives what is in force now; ``is_known`` says whether anything of that target and id is served;
    ``roles_of`` gives the roles of a principal, or of whose key it is.
    """

    def __init__(
        self,
        store: RegistryStore,
        changes: Changes,
        tenant: str,
        shown: Callable[[], list[Switch]],
        is_known: Callable[[str, str], bool],
        roles_of: Callable[[str, str], tuple[str, ...]],
    ) -> None:
        self._store = store
        self._changes = changes
        self._tenant = tenant
        self._shown = shown
        self._is_known = is_known
        self._roles_of = roles_of

    def listed(self) -> list[Switch]:
        """Every switch that is set, by target and id."""
        return sorted(self._shown(), key=lambda switch: (switch.target, switch.id))

    async def set(self, target: str, id: str, *, reason: str, asker: Principal) -> Switch:
        """Set a switch; one that is set gets the new reason. ``reason`` is shown to callers that are refused.

        Raises ``Refused``: ``invalid_payload``; ``forbidden``; ``unknown_key``, ``unknown_principal`` or
        ``unknown_connector``, because a misspelt name would stop nothing; and what ``Changes.put`` raises.
        """
        self._check(target, id, asker)
        if target != TENANT and not self._is_known(target, id):
            raise Refused(_UNKNOWN[target], f"There is no {target} {id!r} here, so nothing was stopped.")
        if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
            raise Refused(
                "invalid_payload",
                f"Say why, in 1 to {LONGEST_REASON} printable characters on one line: callers are shown the reason.",
            )
        others = [each for each in self._shown() if (each.target, each.id) != (target, id)]
        if target != TENANT and len(others) >= MOST_SET:
            raise Refused("conflict", f"{MOST_SET} switches are set. Clear some, or set the tenant's.")
        document = {"reason": reason.strip()}

        async def put(before: Row | None) -> Changed:
            return await self._changes.put(SWITCH, _id(target, id), document, before=before, by=asker.id)

        changed = await self._changed(target, id, put)
        return Switch(
            target=target,
            id=id,
            reason=document["reason"],
            by=asker.id,
            at=changed.row.at,
            evidence_id=changed.evidence_id,
        )

    async def clear(self, target: str, id: str, *, asker: Principal) -> Removed:
        """Clear a switch. Raises ``Refused``: ``unknown_switch`` where it is not set, ``forbidden``; and what
        ``Changes.remove`` does. Nobody need know any more what it stopped.
        """
        self._check(target, id, asker)

        async def remove(before: Row | None) -> Changed:
            if before is None:
                raise Refused("unknown_switch", f"No kill switch is set for the {target} {id!r}.")
            return await self._changes.remove(before, by=asker.id)

        changed = await self._changed(target, id, remove)
        return Removed(id=changed.row.id, version=changed.row.version, evidence_id=changed.evidence_id)

    def _check(self, target: str, id: str, asker: Principal) -> None:
        if target not in TARGETS:
            raise Refused("invalid_payload", f"A kill switch is for one of: {', '.join(TARGETS)}; not {target!r}.")
        if target == TENANT and id != self._tenant:
            raise Refused("tenant_mismatch", "This sidecar serves another tenant; its switches are set there.")
        if target in (KEY, PRINCIPAL):
            check_standing(asker, self._roles_of(target, id))

    async def _changed(self, target: str, id: str, change: Callable[[Row | None], Awaitable[Changed]]) -> Changed:
        """Who stops something means it, whatever somebody else has just written: a conflict is tried again."""
        for tries_left in reversed(range(_TRIES)):
            before = await self._store.get(SWITCH, _id(target, id))
            try:
                return await change(before)
            except Refused as error:
                if error.code != "conflict" or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")


def _id(target: str, id: str) -> str:
    return f"{target}:{id}"
