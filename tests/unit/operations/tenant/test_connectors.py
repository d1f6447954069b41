"""List, show and test the configured connectors."""

from __future__ import annotations

import json

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.model.registry import Statistics
from sidecar.operations.tenant.connectors import TESTER_ID, TESTER_ROLES, Connectors
from sidecar.pipeline.handle import handle
from tests.fakes.parts import SECRET, Stage, allowing, code, denying, set_stage


def connectors(stage: Stage) -> Connectors:
    def statistics(name: str) -> Statistics:
        known = stage.parts.traffic.get(name)
        return known.statistics() if known else Statistics()

    return Connectors(
        lambda: stage.parts.catalogue,
        statistics,
        lambda call: handle(stage.parts, call),
        iter(["t-1", "t-2"]).__next__,
    )


def test_connectors_are_listed_by_id() -> None:
    listed = connectors(set_stage()).listed()
    assert [view.id for view in listed] == ["crm", "open"]
    crm, other = listed
    assert (crm.kind, crm.status, crm.base_url, crm.credential) == (
        *("http", "ready", "https://api.example/v1", "encrypted://crm"),
    )
    assert crm.operations == ("add", "find", "get", "typed", "watch", "watch_typed")
    assert other.credential is None


async def test_a_connector_is_shown_with_its_statistics() -> None:
    stage = set_stage()
    await stage.handle()
    shown = connectors(stage).shown("crm")
    assert shown.status == "connected"
    assert (shown.statistics.calls, shown.statistics.errors, shown.statistics.in_flight) == (1, 0, 0)


def test_an_unknown_connector_is_not_there() -> None:
    with pytest.raises(Refused) as refused:
        connectors(set_stage()).shown("nothing")
    assert refused.value.code == "unknown_connector"


async def test_a_test_is_a_call_on_the_one_path() -> None:
    stage = set_stage()
    outcome = await connectors(stage).test("crm", "get", {"id": "7"})
    assert outcome.status == 200
    assert outcome.call_id == "t-1"
    assert stage.journal[0] == "ask"
    asked = json.loads(stage.engine.documents[0])
    assert asked["surface"] == "admin"
    assert (asked["principal"]["id"], asked["principal"]["kind"], asked["principal"]["roles"]) == (
        *(TESTER_ID, "system", list(TESTER_ROLES)),
    )
    assert asked["tenant"] == "acme"
    assert {leaf.principal for leaf in stage.evidence.leaves} == {TESTER_ID}
    assert stage.kinds == ["intent", "outcome"]


async def test_inv_3_a_test_needs_a_grant_as_any_call_does() -> None:
    stage = set_stage(rule=denying(("no_grant", "m")))
    assert code(await connectors(stage).test("crm", "get", {"id": "7"})) == "denied"
    assert stage.caller.calls == []


def test_no_configured_principal_can_have_the_id_of_a_test() -> None:
    def configured(name: str) -> Config:
        return msgspec.convert({"tenant": "acme", "principals": {name: {}}}, Config)

    assert "admin" in configured("admin").principals
    with pytest.raises(msgspec.ValidationError):
        configured(TESTER_ID)


async def test_a_test_of_what_is_not_there_is_refused_on_the_path() -> None:
    stage = set_stage(rule=allowing())
    assert code(await connectors(stage).test("nothing", "get", None)) == "unknown_connector"
    assert code(await connectors(stage).test("crm", "nothing", None)) == "unknown_operation"
    assert stage.kinds == ["refusal", "refusal"]


async def test_inv_5_no_view_holds_a_secret() -> None:
    stage = set_stage()
    await stage.handle()
    assert SECRET not in repr(connectors(stage).listed())
