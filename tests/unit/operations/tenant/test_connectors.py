"""The connector registry (M06)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused, Unavailable
from sidecar.operations.tenant.connectors import TESTER_ID
from tests.fakes.answers import answered
from tests.fakes.desk import SECTION, Desk
from tests.fakes.parts import SECRET, allowing, code, denying, set_stage


async def saved(desk: Desk, id: str = "wiki", section: dict[str, Any] = SECTION, **more: Any) -> Any:
    arguments: dict[str, Any] = {"draft": False, "version": None, "by": "ada"} | more
    return await desk.verbs.connectors.save(id, section, **arguments)


async def refused(awaitable: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value


def test_declared_connectors_are_listed_by_id() -> None:
    desk = Desk()
    crm, other = desk.verbs.connectors.listed()
    assert (crm.id, crm.kind, crm.status, crm.base_url, crm.credential) == (
        *("crm", "http", "ready", "https://api.example/v1", "encrypted://crm"),
    )
    assert crm.operations == ("add", "find", "get", "typed", "watch", "watch_typed")
    assert crm.capabilities == ("query", "read", "search", "stream", "write")
    assert crm.declared and crm.version is None
    assert other.credential is None


async def test_a_registered_connector_is_served_from_the_next_call_on() -> None:
    desk = Desk()
    view = await saved(desk)
    assert (view.status, view.declared, view.version, view.by) == ("ready", False, 1, "ada")
    assert view.problems == ()
    outcome = await desk.stage.handle(connector="wiki", operation="get", parameters={"id": "7"})
    assert outcome.problem is None
    assert desk.stage.caller.calls[-1].destination.host == "wiki.example"
    assert desk.verbs.connectors.shown("wiki").status == "connected"
    assert [each.id for each in desk.verbs.connectors.listed()] == ["crm", "open", "wiki"]
    assert desk.changes == [("put", "connector", "wiki", None)]


async def test_inv_7_a_change_that_cannot_be_recorded_is_not_made() -> None:
    desk = Desk()
    desk.stage.evidence.available = False
    with pytest.raises(Unavailable) as unavailable:
        await saved(desk)
    assert unavailable.value.code == "evidence_unavailable"
    assert desk.store.rows == {}
    assert "wiki" not in desk.stage.parts.catalogue.connectors


async def test_a_registry_that_is_down_refuses_changes_and_calls_go_on() -> None:
    desk = Desk()
    await saved(desk)
    desk.store.available = False
    with pytest.raises(Unavailable) as unavailable:
        await desk.verbs.connectors.disconnect("wiki", by="ada")
    assert unavailable.value.code == "registry_unavailable"
    outcome = await desk.stage.handle(connector="wiki", operation="get", parameters={"id": "7"})
    assert outcome.problem is None
    assert desk.verbs.connectors.shown("wiki").status == "connected"


@pytest.mark.parametrize(
    ("id", "section", "expected"),
    [
        ("crm", SECTION, "declared"),
        ("x", SECTION | {"kind": "sql"}, "invalid_payload"),
        ("x", SECTION | {"base_url": "https://api.example"}, "invalid_payload"),
        ("x", SECTION | {"ca_file": "/etc/passwd"}, "invalid_payload"),
        ("x", SECTION | {"auth": {"style": "bearer", "credential": "crm"}}, "invalid_payload"),
        ("x", SECTION | {"capabilities": ["write"]}, "invalid_payload"),
        ("x", {}, "invalid_payload"),
        ("X", SECTION, "invalid_payload"),
    ],
)
async def test_what_does_not_fit_is_refused_with_reasons(id: str, section: dict[str, Any], expected: str) -> None:
    desk = Desk()
    error = await refused(saved(desk, id, section))
    assert error.code == expected
    assert error.reasons or expected == "declared"
    assert desk.store.rows == {}


async def test_a_kind_that_is_not_built_is_refused_clearly() -> None:
    error = await refused(saved(Desk(), "x", {"kind": "custom"}))
    assert error.reasons[0].code == "not_built" and "it has: http" in error.reasons[0].message


async def test_a_change_names_the_version_it_is_about() -> None:
    desk = Desk()
    await saved(desk)
    assert (await refused(saved(desk))).code == "conflict"
    assert (await refused(saved(desk, version=7))).code == "conflict"
    assert (await refused(saved(desk, "other", version=1))).code == "unknown_connector"
    changed = await saved(desk, section=SECTION | {"labels": {"team": "docs"}}, version=1)
    assert (changed.version, changed.labels) == (2, {"team": "docs"})


async def test_a_draft_is_kept_and_not_served() -> None:
    desk = Desk()
    first = await saved(desk, section={"kind": "http"}, draft=True)
    assert first.status == "registered" and first.problems
    second = await saved(desk, section={"kind": "http", "base_url": "https://wiki.example"}, draft=True, version=1)
    assert second.status == "configuring"
    assert code(await desk.stage.handle(connector="wiki", operation="get")) == "unknown_connector"
    assert (await refused(desk.verbs.connectors.disconnect("wiki", by="ada"))).code == "wrong_status"
    assert (await saved(desk, version=2)).status == "ready"


async def test_inv_5_not_even_a_draft_holds_a_secret() -> None:
    desk = Desk()
    section = {"kind": "http", "labels": {"key": "ghp_" + "a1B2" * 9}}
    error = await refused(saved(desk, section=section, draft=True))
    assert error.code == "invalid_payload" and error.reasons[0].code == "raw_secret"
    assert desk.store.rows == {}
    assert "ghp_" not in str(error) + repr(error.reasons)


async def test_what_is_disconnected_takes_no_calls_until_it_is_connected() -> None:
    desk = Desk()
    await saved(desk)
    assert (await desk.verbs.connectors.disconnect("wiki", by="ada")).status == "disconnected"
    call: dict[str, Any] = {"connector": "wiki", "operation": "get", "parameters": {"id": "7"}}
    assert code(await desk.stage.handle(**call)) == "inactive"
    assert (await saved(desk, version=2)).status == "disconnected", "an edit does not bring it back"
    ada = desk.person("ada")
    assert (await desk.verbs.connectors.connect("wiki", operation=None, parameters=None, asker=ada)).status == (
        "connected"
    )
    assert (await desk.stage.handle(**call)).problem is None


async def test_connecting_with_an_operation_needs_it_to_go_through() -> None:
    desk = Desk()
    await saved(desk)
    ada = desk.person("ada")
    connect: dict[str, Any] = {"operation": "get", "parameters": {"id": "7"}, "asker": ada}
    desk.stage.caller.script.insert(0, answered(b"{}", 500))
    error = await refused(desk.verbs.connectors.connect("wiki", **connect))
    assert (error.code, desk.verbs.connectors.shown("wiki").status) == ("not_connected", "error")
    assert (await desk.verbs.connectors.connect("wiki", **connect)).status == "connected"
    assert [leaf.principal for leaf in desk.stage.evidence.leaves if leaf.kind == "outcome"] == ["ada", "ada"]


async def test_what_was_out_of_service_stays_there_where_it_does_not_connect() -> None:
    desk = Desk()
    await saved(desk)
    await desk.verbs.connectors.disconnect("wiki", by="ada")
    desk.stage.caller.script.insert(0, answered(b"{}", 500))
    connect: dict[str, Any] = {"operation": "get", "parameters": {"id": "7"}, "asker": desk.person("ada")}
    assert (await refused(desk.verbs.connectors.connect("wiki", **connect))).code == "not_connected"
    assert desk.verbs.connectors.shown("wiki").status == "disconnected"
    assert code(await desk.stage.handle(connector="wiki", operation="get", parameters={"id": "7"})) == "inactive"


async def test_what_an_admin_decides_while_a_connector_connects_stands() -> None:
    desk = Desk()
    await saved(desk)
    arrived = asyncio.Event()
    desk.stage.caller.before = arrived.set
    held = desk.stage.caller.holds = asyncio.Event()
    desk.stage.caller.script.insert(0, answered(b"{}", 500))
    connect: dict[str, Any] = {"operation": "get", "parameters": {"id": "7"}, "asker": desk.person("ada")}
    connecting = asyncio.create_task(desk.verbs.connectors.connect("wiki", **connect))
    await arrived.wait()
    await desk.verbs.connectors.deprecate("wiki", by="bo")
    held.set()
    assert (await refused(connecting)).code == "not_connected"
    assert desk.verbs.connectors.shown("wiki").status == "deprecated"


async def test_inv_6_an_operator_connects_and_runs_nothing() -> None:
    desk = Desk()
    await saved(desk)
    oscar = desk.person("oscar")
    running = desk.verbs.connectors.connect("wiki", operation="get", parameters={"id": "7"}, asker=oscar)
    assert (await refused(running)).code == "forbidden"
    assert desk.stage.caller.calls == []
    assert (await desk.verbs.connectors.connect("wiki", operation=None, parameters=None, asker=oscar)).status == (
        "connected"
    )


async def test_a_deprecated_connector_ends_and_its_name_stays() -> None:
    desk = Desk()
    await saved(desk)
    assert (await desk.verbs.connectors.deprecate("wiki", by="ada")).status == "deprecated"
    assert code(await desk.stage.handle(connector="wiki", operation="get")) == "inactive"
    ada = desk.person("ada")
    again = desk.verbs.connectors.connect("wiki", operation=None, parameters=None, asker=ada)
    assert (await refused(again)).code == "wrong_status"
    assert (await refused(saved(desk))).code == "conflict"


async def test_a_connector_that_a_source_needs_stays() -> None:
    desk = Desk()
    await saved(desk)
    await desk.verbs.sources.save("wiki", {"connector": "wiki"}, draft=False, version=None, by="ada")
    error = await refused(desk.verbs.connectors.remove("wiki", version=1, by="ada"))
    assert error.code == "in_use" and "source 'wiki'" in error.detail
    await desk.verbs.sources.remove("wiki", version=1, by="ada")
    await desk.verbs.connectors.remove("wiki", version=1, by="ada")
    with pytest.raises(Refused) as gone:
        desk.verbs.connectors.shown("wiki")
    assert gone.value.code == "unknown_connector"


async def test_a_row_that_no_longer_fits_is_in_error_and_says_why() -> None:
    desk = Desk()
    await saved(desk)
    taken = msgspec.to_builtins(desk.config) | {}
    taken["connectors"]["late"] = SECTION
    desk.config = msgspec.convert(taken, Config)
    desk.registered.combined = await desk.serve()
    view = desk.verbs.connectors.shown("wiki")
    assert view.status == "error" and "same host and port" in view.problems[0]
    assert code(await desk.stage.handle(connector="wiki", operation="get")) == "unknown_connector"


@pytest.mark.parametrize("verb", ["disconnect", "deprecate"])
async def test_what_the_file_declares_is_changed_there(verb: str) -> None:
    desk = Desk()
    error = await refused(getattr(desk.verbs.connectors, verb)("crm", by="ada"))
    assert error.code == "declared" and "sidecar.yaml" in error.detail


async def test_a_run_is_a_call_on_the_one_path_as_who_asks() -> None:
    desk = Desk()
    outcome = await desk.verbs.connectors.execute("crm", "get", {"id": "7"}, None, desk.person("ada"))
    assert outcome.status == 200
    asked = json.loads(desk.stage.engine.documents[0])
    assert (asked["surface"], asked["principal"]["id"], asked["principal"]["roles"]) == (
        *("admin", "ada", ["tenant-admin"]),
    )
    assert desk.stage.kinds == ["intent", "outcome"]


async def test_inv_3_a_run_needs_a_grant_as_any_call_does() -> None:
    desk = Desk(stage=set_stage(msgspec.convert(Desk().config, Config), rule=denying(("no_grant", "m"))))
    outcome = await desk.verbs.connectors.execute("crm", "get", {"id": "7"}, None, desk.person("ada"))
    assert code(outcome) == "denied"
    assert desk.stage.caller.calls == []


def test_no_configured_principal_can_have_the_id_of_the_local_owner() -> None:
    def configured(name: str) -> Config:
        return msgspec.convert({"tenant": "acme", "principals": {name: {}}}, Config)

    assert "admin" in configured("admin").principals
    with pytest.raises(msgspec.ValidationError):
        configured(TESTER_ID)


async def test_a_run_of_what_is_not_there_is_refused_on_the_path() -> None:
    desk = Desk(stage=set_stage(Desk().config, rule=allowing()))
    ada = desk.person("ada")
    assert code(await desk.verbs.connectors.execute("nothing", "get", None, None, ada)) == "unknown_connector"
    assert code(await desk.verbs.connectors.execute("crm", "nothing", None, None, ada)) == "unknown_operation"
    assert desk.stage.kinds == ["refusal", "refusal"]


async def test_health_and_statistics_tell_from_the_calls_there_were() -> None:
    desk = Desk()
    assert desk.verbs.connectors.health("crm").health == "unknown"
    await desk.stage.handle()
    assert desk.verbs.connectors.health("crm").health == "healthy"
    counts = desk.verbs.connectors.statistics("crm")
    assert (counts.statistics.calls, counts.open_connections, counts.resting_connections) == (1, 2, 1)
    traffic = desk.stage.parts.traffic["crm"]
    section = desk.stage.parts.catalogue.connectors["crm"].section
    traffic.failed(section, "upstream_timeout", 0.0, 9)
    assert desk.verbs.connectors.health("crm").health == "degraded"
    for _ in range(5):
        traffic.failed(section, "upstream_timeout", 0.0, 9)
    health = desk.verbs.connectors.health("crm")
    assert (health.health, health.status, health.last_error) == ("failing", "error", "upstream_timeout")


async def test_inv_5_no_view_holds_a_secret() -> None:
    desk = Desk()
    await desk.stage.handle()
    assert SECRET not in repr(desk.verbs.connectors.listed())
