"""The one path, call by call. Retries, floods and streams are in ``tests/path``."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest

from sidecar.adapters.evidence.frames import DOCUMENT_LIMIT
from sidecar.errors import UpstreamFailure
from sidecar.pipeline.handle import handle
from sidecar.pipeline.record import MOST_RECORDED
from tests.fakes.answers import JSON_TYPE, answered
from tests.fakes.parts import SECRET, allowing, changed, code, decision, denying, in_flight, raising, set_stage

RESET = UpstreamFailure("upstream_unavailable", "The upstream closed the connection.", sent=True)


# An allowed call


async def test_an_allowed_call_is_answered_with_the_upstreams_status_and_body() -> None:
    stage = set_stage(None, answered(b'{"id":7}', 201, [JSON_TYPE, (b"set-cookie", b"x=y"), (b"etag", b"1")]))
    outcome = await stage.handle(session="s-1")
    assert (outcome.status, outcome.body, outcome.problem) == (201, b'{"id":7}', None)
    assert outcome.headers == (JSON_TYPE, (b"etag", b"1"))
    assert outcome.evidence_id == "acme-00000000/1"
    intent, result = stage.evidence.leaves
    assert (intent.kind, result.kind, result.intent) == ("intent", "outcome", 0)
    assert result.result is not None
    assert result.result.status == 201
    assert result.result.bytes == 8
    assert result.result.hash == stage.evidence.digest(b'{"id":7}')
    assert stage.evidence.documents == {0: stage.engine.documents[0]}
    assert intent.input_hash == stage.evidence.digest(stage.engine.documents[0])
    assert result.destination is not None
    assert result.destination.peer == "93.184.216.34"
    assert in_flight(stage) == 0


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 409, 429, 500, 503])
async def test_an_upstreams_refusal_is_its_own_and_a_redirect_is_handed_back(status: int) -> None:
    """A32, A33: nothing is followed, and the upstream's 403 is not our denial."""
    location = (b"location", b"http://169.254.169.254/")
    stage = set_stage(None, answered(b"no", status, [location]))
    outcome = await stage.handle()
    assert (outcome.status, outcome.body, outcome.headers, outcome.problem) == (status, b"no", (location,), None)
    assert len(stage.caller.calls) == 1
    assert stage.resolver.asked == ["api.example"]


async def test_what_is_told_about_a_call() -> None:
    stage = set_stage()
    await stage.handle(plane="knowledge", action="query")
    told = stage.observer.named("call")
    assert len(told) == 1
    assert told[0]["code"] == "allowed"
    assert (told[0]["plane"], told[0]["connector"], told[0]["operation"]) == ("knowledge", "crm", "find")
    assert (told[0]["principal"], told[0]["status"]) == ("alice", 200)
    assert {"policy", "upstream", "total"} <= set(told[0]["laps"])


async def test_no_label_is_what_an_unknown_caller_chose() -> None:
    stage = set_stage()
    await stage.handle(None, plane="x" * 1000, connector="y" * 1000, operation="z" * 1000)
    told = stage.observer.named("call")[0]
    assert (told["plane"], told["connector"], told["operation"], told["principal"]) == (None, None, None, None)


# Refusals


async def test_a_denial_has_the_policys_reasons_and_sends_nothing() -> None:
    stage = set_stage(rule=denying(("no_grant", "Nobody granted this.")))
    outcome = await stage.handle()
    assert code(outcome) == "denied"
    assert outcome.problem is not None
    assert outcome.problem.reasons == ({"code": "no_grant", "message": "Nobody granted this."},)
    assert outcome.problem.policy_revision == stage.engine.revision
    assert outcome.problem.evidence_id == outcome.evidence_id == "acme-00000000/0"
    leaf = stage.evidence.leaves[0]
    assert (leaf.kind, leaf.code, leaf.decision) == ("refusal", "denied", False)
    assert stage.evidence.documents[0] == stage.engine.documents[0]
    assert stage.caller.calls == []
    assert stage.resolver.asked == []  # A30: a denied name is never looked up


async def test_a_failure_of_our_own_tells_the_caller_nothing() -> None:
    stage = set_stage(None, raising(RuntimeError("the database password is hunter2")))
    outcome = await stage.handle()
    assert code(outcome) == "internal_error"
    assert stage.kinds == ["intent", "outcome"]
    assert stage.evidence.leaves[1].code == "internal_error"
    assert stage.observer.named("failure") == [{"call_id": "c-1", "error": "RuntimeError"}]
    assert "hunter2" not in repr((outcome, stage.evidence.leaves, stage.observer.events))
    assert in_flight(stage) == 0


async def test_an_address_that_may_not_be_reached_is_refused_before_the_intent() -> None:
    stage = set_stage()
    stage.resolver.names["api.example"] = ("93.184.216.34", "169.254.169.254")
    assert code(await stage.handle()) == "destination_forbidden"
    assert stage.kinds == ["refusal"]
    assert stage.caller.calls == []


async def test_the_checked_addresses_are_the_ones_handed_to_the_caller() -> None:
    stage = set_stage()
    await stage.handle()
    assert stage.caller.calls[0].destination.addresses == ("93.184.216.34",)
    assert stage.resolver.asked == ["api.example"]  # A25: one lookup


async def test_a_policy_that_reads_the_destination_is_asked_again_and_may_deny() -> None:
    def only_before(asked: bytes) -> bytes:
        return decision(json.loads(asked)["destination"] is None)

    stage = set_stage(rule=only_before)
    stage.engine.reads_destination = True
    assert code(await stage.handle()) == "denied"
    assert [json.loads(asked)["destination"] for asked in stage.engine.documents] == [
        None,
        {"host": "api.example", "port": 443, "addresses": ["93.184.216.34"]},
    ]
    assert stage.caller.calls == []


async def test_whether_to_ask_again_is_the_deciding_revisions_word() -> None:
    """A policy swapped in while the first one decides cannot talk that one out of its second look."""
    stage = set_stage()
    stage.engine.reads_destination = True

    def swapped(asked: bytes) -> bytes:
        stage.engine.reads_destination = False
        return decision()

    stage.engine._rule = swapped
    assert (await stage.handle()).status == 200
    assert len(stage.engine.documents) == 2


# Limits


async def test_a_principals_rate_and_a_connectors_rate() -> None:
    for key in ("principal:alice", "connector:crm"):
        stage = set_stage()
        stage.counter.waits[key] = 2.5
        outcome = await stage.handle()
        assert code(outcome) == "rate_limited"
        assert outcome.retry_after == 2.5
        assert stage.engine.documents == []
        assert stage.kinds == ["refusal"]


async def test_one_principals_rate_is_not_anothers() -> None:
    stage = set_stage()
    stage.counter.waits["principal:alice"] = 1.0
    assert (await stage.handle("bob")).status == 200


async def test_more_calls_at_once_than_a_connector_may_serve_are_refused_and_places_come_back() -> None:
    stage = set_stage(changed("connectors.crm.concurrency", 2))
    outcomes = await asyncio.gather(*(stage.handle() for _ in range(5)))
    assert sorted(outcome.status for outcome in outcomes) == [200, 200, 429, 429, 429]
    assert {code(outcome) for outcome in outcomes if outcome.problem} == {"too_many_in_flight"}
    assert in_flight(stage) == 0
    assert (await stage.handle()).status == 200


async def test_more_calls_at_once_than_the_sidecar_may_serve_are_refused() -> None:
    stage = set_stage(changed("limits.in_flight", 3))
    outcomes = await asyncio.gather(*(stage.handle() for _ in range(5)))
    assert sum(outcome.problem is not None for outcome in outcomes) == 2
    assert {(code(outcome), outcome.retry_after) for outcome in outcomes if outcome.problem} == {
        ("too_many_in_flight", 1.0)
    }
    assert in_flight(stage) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stage: setattr(stage.evidence, "available", False),
        lambda stage: stage.evidence.refuses.add("outcome"),
        lambda stage: stage.credentials.delete("crm"),
        lambda stage: stage.resolver.names.clear(),
        lambda stage: stage.caller.script.insert(0, RESET),
        lambda stage: stage.caller.script.insert(0, raising(ValueError())),
        lambda stage: stage.caller.script.insert(0, answered(headers=[(b"content-encoding", b"gzip")])),
        lambda stage: setattr(stage.engine, "_rule", None),
    ],
)
async def test_places_come_back_whatever_goes_wrong(spoil: Any) -> None:
    stage = set_stage(changed("connectors.crm.retry.attempts", 1))
    spoil(stage)
    assert (await stage.handle()).problem is not None
    assert in_flight(stage) == 0


# Cancellation


async def test_a_call_that_is_stopped_in_the_middle_has_an_outcome() -> None:
    stage = set_stage()
    stage.caller.holds = asyncio.Event()
    task = asyncio.create_task(stage.handle())
    stage.caller.before = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.kinds == ["intent", "outcome"]
    assert (stage.evidence.leaves[1].code, stage.evidence.leaves[1].intent) == ("cancelled", 0)
    assert in_flight(stage) == 0


async def test_a_call_that_is_stopped_while_its_outcome_is_written_has_one_outcome() -> None:
    stage = set_stage()
    task = asyncio.create_task(stage.handle())
    stage.evidence.before = lambda leaf: task.cancel() if leaf.kind == "outcome" else None
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.journal.count("outcome begins") == 1
    assert in_flight(stage) == 0


# Obligations


async def test_answers_are_masked_as_the_policy_obliges() -> None:
    stage = set_stage(None, answered(b'{"rows":[{"ssn":"1","n":1}]}'), rule=allowing(mask=["/rows/*/ssn"]))
    outcome = await stage.handle()
    assert outcome.body == b'{"rows":[{"ssn":"[MASKED]","n":1}]}'
    assert stage.evidence.leaves[0].obligations == {"mask": ("/rows/*/ssn",)}


async def test_a_long_answer_is_masked_beside_the_loop() -> None:
    body = b"[" + b",".join([b"[]"] * 300_000) + b"]"
    stage = set_stage(None, answered(body), rule=allowing(mask=["/*/ssn"]))
    call = asyncio.create_task(stage.handle(connector="crm", operation="find", parameters={"q": "x"}))
    longest, before = 0.0, time.thread_time()
    while not call.done():
        await asyncio.sleep(0)
        longest, before = max(longest, time.thread_time() - before), time.thread_time()
    assert (await call).body == body
    assert longest < 0.1


async def test_an_answer_that_cannot_be_masked_is_withheld() -> None:
    stage = set_stage(None, answered(b"<ssn>1</ssn>"), rule=allowing(mask=["/ssn"]))
    outcome = await stage.handle()
    assert code(outcome) == "answer_withheld"
    assert outcome.body == b""
    leaf = stage.evidence.leaves[1]
    assert (leaf.kind, leaf.code) == ("outcome", "answer_withheld")
    assert leaf.result is not None
    assert leaf.result.status == 200  # it had its effect, and evidence says so


async def test_bounds_of_the_policy_reach_the_caller() -> None:
    stage = set_stage(rule=allowing(max_bytes=10, timeout_ms=250))
    await stage.handle()
    sent = stage.caller.calls[0]
    assert (sent.request.max_bytes, sent.request.timeout) == (10, 0.25)
    assert sent.permit.obligations.max_bytes == 10


async def test_bodies_are_recorded_when_the_policy_says_so() -> None:
    stage = set_stage(None, answered(f'{{"echo":"{SECRET}"}}'.encode()), rule=allowing(record_bodies=True))
    await stage.handle(connector="crm", operation="add", parameters={"item": "x"})
    kept = json.loads(stage.evidence.documents[1])
    assert base64.b64decode(kept["request"]) == b'{"item":"x","source":"agent"}'
    assert base64.b64decode(kept["answer"]) == b'{"echo":"[REDACTED]"}'


async def test_inv_7_bodies_that_the_log_would_not_take_do_not_cost_the_outcome() -> None:
    config = changed("connectors.crm.operations.add.answer", {"max_bytes": 1 << 30})
    stage = set_stage(config, answered(b"x" * MOST_RECORDED), rule=allowing(record_bodies=True))
    outcome = await stage.handle(connector="crm", operation="add", parameters={"item": "x"})
    assert code(outcome) == "answer_too_large"
    assert (stage.kinds, stage.evidence.leaves[1].code) == (["intent", "outcome"], "answer_too_large")
    assert MOST_RECORDED / 3 * 4 < DOCUMENT_LIMIT


async def test_bodies_are_not_recorded_otherwise() -> None:
    stage = set_stage()
    await stage.handle()
    assert set(stage.evidence.documents) == {0}


@pytest.mark.parametrize(
    ("obligations", "expected"),
    [
        ({"require_approval": True}, "approval_required"),
        ({"max_rows": 10}, "policy_unavailable"),
        ({"mask": ["ssn"]}, "policy_unavailable"),
    ],
)
async def test_what_cannot_be_kept_is_not_begun(obligations: dict[str, Any], expected: str) -> None:
    stage = set_stage(rule=allowing(**obligations))
    assert code(await stage.handle()) == expected
    assert stage.caller.calls == []


# Credentials


async def test_a_credential_that_cannot_be_resolved_ends_the_call() -> None:
    stage = set_stage()
    stage.credentials.delete("crm")
    assert code(await stage.handle()) == "credential_unavailable"
    assert stage.caller.calls == []
    assert [leaf.kind for leaf in stage.evidence.leaves] == ["intent", "outcome"]


async def test_a_credential_of_a_store_that_is_not_there_ends_the_call() -> None:
    stage = set_stage(changed("credentials.crm.reference", "vault://kv/crm#token"))
    assert code(await stage.handle()) == "credential_unavailable"
    assert stage.caller.calls == []


async def test_a_secret_too_short_to_be_found_again_is_never_sent() -> None:
    stage = set_stage()

    class Short:
        async def resolve(self, reference: Any) -> Any:
            from sidecar.model.credential import Credential
            from sidecar.model.secret import Secret

            return Credential(Secret("abc"), "1")

    stage.parts.credentials = {"encrypted": Short()}
    assert code(await stage.handle()) == "credential_unavailable"
    assert stage.caller.calls == []


async def test_a_credential_is_not_sent_where_it_is_not_bound() -> None:
    stage = set_stage(changed("credentials.crm.hosts", ["other.example:443"]))
    assert code(await stage.handle()) == "credential_misused"
    (refused,) = stage.evidence.leaves
    assert refused.credential is not None  # the log of accesses finds by it who tried
    assert (refused.credential.ref, refused.credential.version) == ("encrypted://crm", None)
    assert stage.credentials.resolved == []
    assert stage.caller.calls == []


async def test_a_principal_proven_by_the_operating_system_goes_the_same_path() -> None:
    from sidecar.model.principal import Principal

    stage = set_stage(rule=denying())
    tester = Principal(id="system:admin", kind="system", tenant="acme", roles=("tenant-admin",))
    outcome = await handle(stage.parts, stage.call(None, principal=tester, surface="admin"))
    assert code(outcome) == "denied"
    assert json.loads(stage.engine.documents[0])["principal"]["roles"] == ["tenant-admin"]
