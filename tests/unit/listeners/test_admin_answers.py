"""From a request that passed its guard to a verb, and back; most of it is asked over the wire in ``test_admin``."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.listeners.admin_answers import AdminAnswers
from sidecar.listeners.admin_asked import Asked
from tests.fakes.desk import HOUSE, SECTION, Desk


def asked(desk: Desk, name: str = "all", **more: object) -> Asked:
    fields: dict[str, object] = {"principal": desk.person(name), "at": {}, "query": {}, "body": None, "version": None}
    return Asked(**(fields | more))  # type: ignore[arg-type]  # each test gives its own


def answers(desk: Desk) -> AdminAnswers:
    return AdminAnswers(desk.verbs, dict)


async def test_what_is_new_is_201_and_what_is_changed_200_with_its_version() -> None:
    desk = Desk()
    at = {"connector": "wiki"}
    made = await answers(desk).save_connector(asked(desk, at=at, body=SECTION))
    assert (made.status, made.version) == (201, 1)
    changed = await answers(desk).save_connector(asked(desk, at=at, body=SECTION, version=1))
    assert (changed.status, changed.version) == (200, 2)
    assert (await answers(desk).show_connector(asked(desk, at=at))).version == 2


async def test_nothing_is_removed_without_its_version() -> None:
    desk = Desk()
    for remove, noun in (
        (answers(desk).remove_connector, "connector"),
        (answers(desk).remove_source, "source"),
        (answers(desk).remove_plane, "plane"),
        (answers(desk).remove_principal, "principal"),
    ):
        with pytest.raises(Refused) as refused:
            await remove(asked(desk, at={noun: "crm"}))
        assert refused.value.code == "precondition_required"


async def test_lists_are_paged_and_filtered() -> None:
    desk = Desk()
    people = await answers(desk).list_principals(asked(desk, query={"kind": "person", "limit": "2"}))
    assert ([view.id for view in people.value["principals"]], people.value["next"]) == (["ada", "all"], "all")
    auditors = await answers(desk).list_principals(asked(desk, query={"role": "auditor"}))
    assert [view.id for view in auditors.value["principals"]] == ["all", "audrey"]
    roles = await answers(desk).list_roles(asked(desk, query={"principal": "all", "after": "all:auditor"}))
    assert [view.role for view in roles.value["roles"]] == ["operator", "tenant-admin"]


async def test_a_switch_is_set_listed_and_cleared() -> None:
    desk = Desk()
    at = {"target": "connector", "id": "crm"}
    from sidecar.listeners.admin_bodies import Why

    set_ = await answers(desk).set_switch(asked(desk, at=at, body=Why(reason="leaks")))
    assert (set_.value.target, set_.value.id, set_.value.by) == ("connector", "crm", "all")
    assert len((await answers(desk).list_switches(asked(desk))).value["switches"]) == 1
    await answers(desk).clear_switch(asked(desk, at=at))
    assert (await answers(desk).list_switches(asked(desk))).value["switches"] == []


async def test_inv_6_which_credentials_the_sidecar_itself_holds_is_the_operators() -> None:
    desk = Desk(HOUSE | {"registry": {"postgres": "vault://secret/acme/registry#dsn"}})
    mine, its_own = (
        {"place": f"vault://secret/acme/{name}", "version": "1", "seconds": 9.0} for name in ("crm", "registry")
    )
    desk.held = [mine, its_own]
    assert (await answers(desk).status(asked(desk, "ada"))).value["credentials"] == [mine]
    assert (await answers(desk).status(asked(desk, "oscar"))).value["credentials"] == [mine, its_own]
