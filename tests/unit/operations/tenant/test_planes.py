"""Knowledge planes: registered, shown, disabled."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.errors import Refused
from tests.fakes.desk import Desk
from tests.fakes.parts import code

PLANE = {"source": "crm", "owner": "support", "actions": {"query": ["find"]}}


async def refused(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def test_a_registered_plane_is_what_agents_may_name() -> None:
    desk = Desk()
    view = await desk.verbs.planes.save("kb", PLANE, version=None, by="ada")
    assert (view.status, view.source, view.owner, view.actions) == ("active", "crm", "support", {"query": ("find",)})
    outcome = await desk.stage.handle(plane="kb", action="query", parameters={"q": "x"})
    assert outcome.problem is None
    assert [(each.id, each.declared) for each in desk.verbs.planes.listed()] == [("kb", False), ("knowledge", True)]


async def test_a_disabled_plane_takes_no_calls_and_an_edit_does_not_bring_it_back() -> None:
    desk = Desk()
    await desk.verbs.planes.save("kb", PLANE, version=None, by="ada")
    assert (await desk.verbs.planes.disable("kb", by="ada")).status == "inactive"
    assert code(await desk.stage.handle(plane="kb", action="query")) == "inactive"
    assert (await desk.verbs.planes.save("kb", PLANE, version=2, by="ada")).status == "inactive"
    assert (await desk.verbs.planes.enable("kb", by="ada")).status == "active"
    assert (await desk.stage.handle(plane="kb", action="query")).problem is None


@pytest.mark.parametrize(
    "section",
    [
        {"source": "nothing", "actions": {"query": ["find"]}},
        {"source": "crm", "actions": {"query": ["add"]}},
        {"source": "crm", "actions": {"query": ["nothing"]}},
        {"source": "crm", "actions": {}},
        {"source": "crm"},
    ],
)
async def test_what_does_not_fit_is_refused(section: dict[str, Any]) -> None:
    desk = Desk()
    assert await refused(desk.verbs.planes.save("kb", section, version=None, by="ada")) == "invalid_payload"
    assert desk.store.rows == {}


async def test_what_is_declared_or_not_there_is_not_changed() -> None:
    planes = Desk().verbs.planes
    assert await refused(planes.disable("knowledge", by="ada")) == "declared"
    assert await refused(planes.remove("nothing", version=1, by="ada")) == "unknown_plane"
    assert await refused(planes.enable("nothing", by="ada")) == "unknown_plane"
    with pytest.raises(Refused) as unknown:
        planes.shown("nothing")
    assert unknown.value.code == "unknown_plane"


async def test_a_removed_plane_is_gone() -> None:
    desk = Desk()
    await desk.verbs.planes.save("kb", PLANE, version=None, by="ada")
    await desk.verbs.planes.remove("kb", version=1, by="ada")
    assert code(await desk.stage.handle(plane="kb", action="query")) == "unknown_plane"
