"""The data-source registry (M07)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.errors import Refused
from tests.fakes.answers import answered
from tests.fakes.desk import SECTION, Desk
from tests.fakes.parts import code


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    await made.verbs.connectors.save("wiki", SECTION, draft=False, version=None, by="ada")
    await save(made)
    plane = {"source": "wiki", "actions": {"retrieve": ["get"]}}
    await made.verbs.planes.save("wiki", plane, version=None, by="ada")
    return made


async def save(desk: Desk, section: Any = None, id: str = "wiki", **more: Any) -> Any:
    arguments: dict[str, Any] = {"draft": False, "version": None, "by": "ada"} | more
    return await desk.verbs.sources.save(id, section or {"connector": "wiki"}, **arguments)


async def refused(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


CALL: dict[str, Any] = {"plane": "wiki", "action": "retrieve", "parameters": {"id": "7"}}


async def test_sources_are_listed_with_what_is_declared(desk: Desk) -> None:
    declared, registered = desk.verbs.sources.listed()
    assert (declared.id, declared.declared, declared.status, declared.type) == ("crm", True, "active", "api")
    assert (registered.id, registered.declared, registered.status, registered.version) == ("wiki", False, "active", 1)
    with pytest.raises(Refused) as unknown:
        desk.verbs.sources.shown("nothing")
    assert unknown.value.code == "unknown_source"


async def test_a_source_out_of_service_takes_no_calls(desk: Desk) -> None:
    assert (await desk.stage.handle(**CALL)).problem is None
    assert (await desk.verbs.sources.deactivate("wiki", by="ada")).status == "inactive"
    assert code(await desk.stage.handle(**CALL)) == "inactive"
    assert (await save(desk, {"connector": "wiki", "type": "document"}, version=2)).status == "inactive"
    assert (await desk.verbs.sources.activate("wiki", by="ada")).status == "active"
    assert (await desk.stage.handle(**CALL)).problem is None


async def test_a_deprecated_source_ends(desk: Desk) -> None:
    assert (await desk.verbs.sources.deprecate("wiki", by="ada")).status == "deprecated"
    assert code(await desk.stage.handle(**CALL)) == "inactive"
    assert await refused(desk.verbs.sources.activate("wiki", by="ada")) == "wrong_status"


async def test_a_draft_goes_from_pending_to_active(desk: Desk) -> None:
    pending = await save(desk, {"type": "document"}, "docs", draft=True)
    assert pending.status == "pending" and pending.problems
    configuring = await save(desk, {"type": "document", "connector": "none"}, "docs", draft=True, version=1)
    assert configuring.status == "configuring"
    assert await refused(desk.verbs.sources.activate("docs", by="ada")) == "wrong_status"
    ready = await save(desk, {"type": "document", "connector": "wiki"}, "docs", version=2)
    assert (ready.status, ready.problems) == ("active", ())


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"connector": "nothing"}, "invalid_payload"),
        ({"connector": "wiki", "type": "vector"}, "invalid_payload"),
        ({"connector": "wiki", "x": 1}, "invalid_payload"),
    ],
)
async def test_what_does_not_fit_is_refused(desk: Desk, section: Any, expected: str) -> None:
    assert await refused(save(desk, section, "x")) == expected


async def test_a_source_that_a_plane_needs_stays(desk: Desk) -> None:
    assert await refused(desk.verbs.sources.remove("wiki", version=1, by="ada")) == "in_use"
    assert await refused(desk.verbs.sources.remove("crm", version=1, by="ada")) == "declared"
    await desk.verbs.planes.remove("wiki", version=1, by="ada")
    assert (await desk.verbs.sources.remove("wiki", version=1, by="ada")).id == "wiki"


async def test_a_test_that_fails_puts_it_in_error_and_one_that_goes_through_heals_it(desk: Desk) -> None:
    ada = desk.person("ada")
    desk.stage.caller.script.insert(0, answered(b"{}", 503))
    assert (await desk.verbs.sources.test("wiki", "get", {"id": "7"}, ada)).status == 503
    assert desk.verbs.sources.shown("wiki").status == "error"
    assert (await desk.verbs.sources.test("wiki", "get", {"id": "7"}, ada)).status == 200
    assert desk.verbs.sources.shown("wiki").status == "active"
    assert (await desk.verbs.sources.test("crm", "get", {"id": "7"}, ada)).status == 200
    assert desk.verbs.sources.statistics("wiki").statistics.calls == 2


async def test_what_an_admin_decides_while_a_source_is_tested_stands(desk: Desk) -> None:
    ada = desk.person("ada")
    desk.stage.caller.script.insert(0, answered(b"{}", 503))
    await desk.verbs.sources.test("wiki", "get", {"id": "7"}, ada)
    assert desk.verbs.sources.shown("wiki").status == "error"
    arrived = asyncio.Event()
    desk.stage.caller.before = arrived.set
    held = desk.stage.caller.holds = asyncio.Event()
    testing = asyncio.create_task(desk.verbs.sources.test("wiki", "get", {"id": "7"}, ada))
    await arrived.wait()
    await desk.verbs.sources.deactivate("wiki", by="bo")
    held.set()
    assert (await testing).status == 200
    assert desk.verbs.sources.shown("wiki").status == "inactive"


async def test_a_source_with_problems_is_tested_and_keeps_them(desk: Desk) -> None:
    await desk.verbs.sources.deactivate("wiki", by="ada")
    row = desk.store.rows["source", "wiki"]
    odd = row.document | {"section": {"connector": "wiki", "type": "vector"}}
    await desk.store.put("source", "wiki", odd, expected=row.version, by="elsewhere")
    await desk.administration.follow()
    await desk.registered.refresh()
    assert desk.verbs.sources.shown("wiki").problems
    assert (await desk.verbs.sources.test("wiki", "get", {"id": "7"}, desk.person("ada"))).status == 200
    assert desk.verbs.sources.shown("wiki").problems


@pytest.mark.parametrize(
    ("id", "section", "why"),
    [
        ("docs", {"connector": "sk-live-51H8aZbCdEfGhIjKlMnOpQrStUvWxYz0123456789"}, "raw_secret"),
        ("docs", {"token": "sk-live-51H8aZbCdEfGhIjKlMnOpQrStUvWxYz0123456789"}, "raw_secret"),
        ("A b\x1b[31m", {"type": "api"}, "wrong_key"),
    ],
)
async def test_inv_5_not_even_a_draft_holds_a_secret_or_has_no_id(
    desk: Desk, id: str, section: dict[str, str], why: str
) -> None:
    with pytest.raises(Refused) as caught:
        await save(desk, section, id, draft=True)
    assert [reason.code for reason in caught.value.reasons] == [why]
    assert ("source", id) not in desk.store.rows
