"""INV-4: one tenant a process; another's caller is refused before anything is asked, another's row is never shown."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from sidecar.errors import Refused
from sidecar.listeners.access import AccessDoor
from sidecar.model.exchange import Inbound, Outbound
from sidecar.pipeline.reception import offer, recognise, turn_away
from tests.fakes.answers import answered
from tests.fakes.parts import CONFIG, Stage, allowing, code, key_of, set_stage
from tests.fakes.requests import asking

CANARY_CALLS = 100  # of each tenant, all under way at once


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


class Told(NamedTuple):
    """All that came out of one tenant's sidecar."""

    answers: list[bytes]
    sent: list[bytes]
    kept: bytes


def echo(request: Outbound) -> Inbound:
    return answered(json.dumps({"path": request.target, "heard": repr(request.headers)}).encode())


async def told(tenant: str, stage: Stage) -> Told:
    """What ``CANARY_CALLS`` calls leave behind; each names its tenant and its number, as the secret does."""
    stage.credentials.put("crm", f"canary-secret-of-{tenant}")
    stage.caller.script[:] = [echo] * (CANARY_CALLS + 1)
    outcomes = await asyncio.gather(
        *(
            stage.handle(parameters={"id": f"canary-{tenant}-{number}"}, session=f"canary-{tenant}-session")
            for number in range(CANARY_CALLS)
        )
    )
    answers = [outcome.body for outcome in outcomes if isinstance(outcome.body, bytes) and outcome.status == 200]
    sent = [repr((call.request, call.destination)).encode() for call in stage.caller.calls]
    kept = repr((stage.evidence.leaves, stage.engine.documents, stage.observer.events)).encode()
    return Told(answers, sent, kept)


async def test_p08_no_canary_of_one_tenant_is_seen_by_another_beside_it() -> None:
    """Two sidecars in one process share its modules and nothing more, so whatever a module kept would be seen."""
    tenants = ("acme", "umbrella")
    stages = {}
    for tenant in tenants:
        principals = {"alice": CONFIG["principals"]["alice"] | {"tenant": tenant}}
        stages[tenant] = set_stage(CONFIG | {"tenant": tenant, "principals": principals})
    told_by = dict(zip(tenants, await asyncio.gather(*(told(*one) for one in stages.items())), strict=True))
    for tenant, other in (tenants, tenants[::-1]):
        mine = told_by[tenant]
        assert len(mine.answers) == len(mine.sent) == CANARY_CALLS
        assert {f"canary-{tenant}-{number}".encode() in answer for number, answer in enumerate(mine.answers)} == {
            True
        }
        assert all(f"canary-secret-of-{tenant}".encode() in request for request in mine.sent)
        everything = b"".join((*mine.answers, *mine.sent, mine.kept))
        assert b"canary-" + other.encode() not in everything
        assert b"canary-secret-of-" + other.encode() not in everything
        assert b"canary-secret-of-" not in b"".join((*mine.answers, mine.kept))
