"""Kill switches are set, cleared and listed, and nobody believes to have stopped what goes on."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from sidecar.errors import Refused, Unavailable
from sidecar.model.principal import Principal
from sidecar.model.registry import SWITCH, Row
from sidecar.operations.changes import Changes
from sidecar.operations.tenant import switches
from sidecar.operations.tenant.switches import KillSwitches
from sidecar.pipeline.switches import Switches
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.registry import FakeRegistryStore

KNOWN = {("principal", "alice"), ("key", "k1"), ("connector", "crm")}
ADA, BOB = (Principal(id=id, kind="person", tenant="acme", roles=("tenant-admin",)) for id in ("ada", "bob"))


class Store(FakeRegistryStore):
    """``meddle`` is how often somebody else writes a switch between its reading and its writing."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle = 0

    async def put(self, kind: str, id: str, document: dict[str, Any], *, expected: int | None, by: str) -> Row:
        if self.meddle and by != "eve":
            self.meddle -= 1
            await super().put(kind, id, {"reason": "eve's"}, expected=expected, by="eve")
        return await super().put(kind, id, document, expected=expected, by=by)


class Desk:
    def __init__(self) -> None:
        self.store = Store()
        self.evidence = MemoryEvidence()
        self.in_force = Switches(60.0)
        numbers = count()
        changes = Changes(self.store, self.evidence, "acme", lambda: f"c-{next(numbers)}", self.in_force.take)
        self.verbs = KillSwitches(
            self.store,
            changes,
            "acme",
            self.in_force.listed,
            lambda target, id: (target, id) in KNOWN,
            lambda _, __: (),
        )


async def refused(code: str, work: Any) -> None:
    with pytest.raises(Refused) as caught:
        await work
    assert caught.value.code == code


@pytest.mark.parametrize(("target", "id"), [*sorted(KNOWN), ("tenant", "acme")])
async def test_a_switch_is_in_force_and_recorded_when_it_is_acknowledged(target: str, id: str) -> None:
    desk = Desk()
    set_ = await desk.verbs.set(target, id, reason=" it went wild ", asker=ADA)
    assert (set_.target, set_.id, set_.reason, set_.by) == (target, id, "it went wild", "ada")
    assert desk.in_force.names == (f"{target}:{id}",)
    assert set_.evidence_id == f"{desk.evidence.origin}/1"
    assert [leaf.change.id for leaf in desk.evidence.leaves if leaf.change] == [f"{target}:{id}"] * 2
    gone = await desk.verbs.clear(target, id, asker=BOB)
    assert desk.verbs.listed() == []
    assert gone.evidence_id == f"{desk.evidence.origin}/3"
    assert [leaf.principal for leaf in desk.evidence.leaves] == ["ada", "ada", "bob", "bob"]


async def test_they_are_listed_with_who_when_and_why() -> None:
    desk = Desk()
    await desk.verbs.set("principal", "alice", reason="first", asker=ADA)
    await desk.verbs.set("connector", "crm", reason="second", asker=BOB)
    listed = desk.verbs.listed()
    assert [(each.target, each.id, each.reason, each.by) for each in listed] == [
        ("connector", "crm", "second", "bob"),
        ("principal", "alice", "first", "ada"),
    ]
    assert all(each.at > 0 for each in listed)


async def test_a_switch_that_is_set_gets_the_new_reason() -> None:
    desk = Desk()
    await desk.verbs.set("principal", "alice", reason="first", asker=ADA)
    await desk.verbs.set("principal", "alice", reason="second", asker=BOB)
    (listed,) = desk.verbs.listed()
    assert (listed.reason, listed.by) == ("second", "bob")


@pytest.mark.parametrize(
    ("target", "id", "code"),
    [
        ("principal", "alcie", "unknown_principal"),
        ("key", "alice", "unknown_key"),
        ("connector", "", "unknown_connector"),
        ("tenant", "umbrella", "tenant_mismatch"),
        ("plane", "crm", "invalid_payload"),
        ("", "", "invalid_payload"),
    ],
)
async def test_what_would_stop_nothing_is_refused(target: str, id: str, code: str) -> None:
    desk = Desk()
    await refused(code, desk.verbs.set(target, id, reason="why", asker=ADA))
    assert not desk.store.rows
    assert not desk.evidence.leaves


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "\x1b[2J", "x" * 501])
async def test_a_switch_needs_a_reason_that_can_be_shown(reason: str) -> None:
    desk = Desk()
    await refused("invalid_payload", desk.verbs.set("principal", "alice", reason=reason, asker=ADA))
    assert not desk.store.rows


async def test_what_is_not_set_cannot_be_cleared_and_what_is_unknown_by_now_can() -> None:
    desk = Desk()
    await refused("unknown_switch", desk.verbs.clear("principal", "alice", asker=ADA))
    await desk.store.put(SWITCH, "principal:gone", {"reason": "old"}, expected=None, by="ada")
    await desk.verbs.clear("principal", "gone", asker=ADA)
    assert await desk.store.find(SWITCH) == []


async def test_who_stops_something_means_it_whatever_was_written_meanwhile() -> None:
    desk = Desk()
    desk.store.meddle = 2
    await desk.verbs.set("principal", "alice", reason="ada's", asker=ADA)
    assert desk.verbs.listed()[0].reason == "ada's"
    desk.store.meddle = 3
    await refused("conflict", desk.verbs.set("principal", "alice", reason="again", asker=ADA))


async def test_there_are_at_most_as_many_as_policy_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "MOST_SET", 1)
    desk = Desk()
    await desk.verbs.set("principal", "alice", reason="why", asker=ADA)
    await refused("conflict", desk.verbs.set("connector", "crm", reason="why", asker=ADA))
    await desk.verbs.set("principal", "alice", reason="another", asker=ADA)
    await desk.verbs.set("tenant", "acme", reason="everything", asker=ADA)


async def test_a_registry_or_evidence_that_fails_is_told_and_nothing_is_in_force() -> None:
    desk = Desk()
    desk.store.available = False
    with pytest.raises(Unavailable, match="registry_unavailable"):
        await desk.verbs.set("principal", "alice", reason="why", asker=ADA)
    desk.store.available, desk.evidence.available = True, False
    with pytest.raises(Unavailable, match="evidence_unavailable"):
        await desk.verbs.set("principal", "alice", reason="why", asker=ADA)
    assert desk.in_force.names == ()
    assert not desk.store.rows
