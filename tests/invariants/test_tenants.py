"""INV-4: one tenant a process; another's caller is refused before anything is asked, another's row is never shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.errors import Refused
from sidecar.listeners.access import AccessDoor
from sidecar.pipeline.handle import offer, recognise, turn_away
from tests.fakes.parts import allowing, code, key_of, set_stage
from tests.fakes.requests import asking


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"plane": "knowledge", "action": "query"},
        {"connector": "open", "operation": "get", "parameters": {"id": 1}},
        {"connector": "nothing", "operation": "nothing"},
        {"parameters": "not even right", "connector": "crm", "operation": "get"},
    ],
)
async def test_inv_4_another_tenants_caller_is_refused_before_the_policy_is_asked(what: dict[str, Any]) -> None:
    stage = set_stage(rule=allowing())
    outcome = await stage.handle("stranger", **what)
    assert code(outcome) == "tenant_mismatch"
    assert outcome.status == 403
    assert stage.journal == ["refusal begins", "refusal durable"]
    assert stage.engine.documents == []
    assert stage.counter.taken == []
    assert stage.caller.calls == []


async def test_inv_4_every_entrance_checks_the_tenant() -> None:
    stage = set_stage()
    offered, outcome = await offer(stage.parts, stage.call("stranger", plane="knowledge"))
    assert (offered, code(outcome)) == ([], "tenant_mismatch")
    with pytest.raises(Refused) as refused:
        await recognise(stage.parts, stage.call("stranger"))
    assert refused.value.code == "tenant_mismatch"
    turned = await turn_away(stage.parts, stage.call("stranger"), Refused("not_found", "No."))
    assert code(turned) == "tenant_mismatch"
    assert stage.engine.documents == []


async def test_inv_4_every_leaf_states_the_sidecars_tenant_and_the_principal() -> None:
    stage = set_stage()
    await stage.handle("alice")
    await stage.handle("bob", connector="crm", operation="nothing")
    await stage.handle("stranger")
    await stage.handle(None)
    await offer(stage.parts, stage.call("bob", plane="knowledge"))
    assert {leaf.tenant for leaf in stage.evidence.leaves} == {"acme"}
    principals = [leaf.principal for leaf in stage.evidence.leaves]
    assert principals == ["alice", "alice", "bob", "stranger", None, "bob"]


async def test_inv_4_the_policy_is_asked_for_the_callers_tenant() -> None:
    stage = set_stage()
    await stage.handle()
    assert json.loads(stage.engine.documents[0])["tenant"] == "acme"


async def test_inv_4_a_stored_row_of_another_tenant_is_never_shown() -> None:
    """The same principal's name in another tenant's row is another principal."""
    stage = set_stage()
    await stage.handle()
    stage.evidence.leaves[0] = replace(stage.evidence.leaves[0], tenant="umbrella")
    door = AccessDoor(stage.parts)
    listed = await door.answer(asking("GET", "/v1/evidence", key=key_of("alice")))
    assert isinstance(listed.body, bytes)
    assert [record["index"] for record in json.loads(listed.body)["records"]] == [1]
    hidden = await door.answer(asking("GET", "/v1/evidence/acme-00000000/0", key=key_of("alice")))
    assert hidden.status == 404
