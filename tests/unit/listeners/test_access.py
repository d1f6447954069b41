"""The agent's door: bytes to Call, Outcome to bytes."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from sidecar.errors import Refused, UpstreamFailure
from sidecar.listeners.access import AccessDoor, reply
from sidecar.model.call import Outcome, Problem
from sidecar.wire.message import Reply
from tests.fakes.answers import Pieces, answered
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.parts import CONFIG, Stage, changed, decision, denying, key_of, set_stage
from tests.fakes.requests import asking, document, header

ACCESS = "/v1/access"
ADD = "/v1/connectors/crm/operations/add"
QUERY = {"plane_id": "knowledge", "action": "query", "payload": {"parameters": {"q": "x"}}}
ALICE, BOB = key_of("alice"), key_of("bob")


async def asked(stage: Stage, method: str, target: str, body: object = None, **more: Any) -> Reply:
    return await AccessDoor(stage.parts).answer(asking(method, target, body, **({"key": ALICE} | more)))


def code(answer: Reply) -> str:
    """The code of a refusal, which is a problem document with everything it must have."""
    assert header(answer, b"content-type") == b"application/problem+json"
    assert header(answer, b"cache-control") == b"no-store"
    shown = document(answer)
    assert set(shown) == {
        *("type", "title", "status", "detail", "code", "evidence_id", "policy_revision", "reasons"),
    }
    assert shown["status"] == answer.status
    evidence_id = header(answer, b"sidecar-evidence-id")
    assert shown["evidence_id"] == (evidence_id.decode() if evidence_id else None)
    assert header(answer, b"sidecar-call-id")
    name: str = shown["code"]
    return name


# Access


@pytest.mark.parametrize(
    ("action", "payload", "target"),
    [
        ("query", {"parameters": {"q": "x"}}, "/v1/items?q=x"),
        ("query", {"operation": "find", "parameters": None}, "/v1/items"),
        ("query", {}, "/v1/items"),
        ("retrieve", {"parameters": {"id": 7}}, "/v1/items/7"),
        ("search", {"operation": "get", "parameters": {"id": "7"}}, "/v1/items/7"),
        ("list", {}, "/v1/items"),
    ],
)
async def test_each_action_runs_its_operation(action: str, payload: object, target: str) -> None:
    config = changed("planes.knowledge.actions.list", ["find"])
    stage = set_stage(config, answered(b'{"n":1}'))
    answer = await asked(stage, "POST", ACCESS, {"plane_id": "knowledge", "action": action, "payload": payload})
    assert (answer.status, answer.body) == (200, b'{"n":1}')
    assert header(answer, b"content-type") == b"application/json"
    assert header(answer, b"sidecar-evidence-id") == b"acme-00000000/1"
    assert header(answer, b"sidecar-call-id") == stage.evidence.leaves[0].call_id.encode()
    assert stage.caller.calls[0].request.target == target
    assert stage.evidence.leaves[0].action == action


async def test_a_payload_may_be_left_out() -> None:
    answer = await asked(set_stage(), "POST", ACCESS, {"plane_id": "knowledge", "action": "query"})
    assert answer.status == 200


async def test_the_direct_route_runs_an_operation_that_writes() -> None:
    stage = set_stage()
    answer = await asked(stage, "POST", ADD, {"parameters": {"item": {"a": 1}}, "idempotency_key": "k-1"})
    assert answer.status == 200
    assert stage.caller.calls[0].request.body == b'{"item":{"a":1},"source":"agent"}'
    assert stage.caller.calls[0].headers[b"idempotency-key"] == b"k-1"
    assert stage.evidence.leaves[0].idempotency_key == "k-1"
    assert (stage.evidence.leaves[0].action, stage.evidence.leaves[0].plane) == ("execute", None)


async def test_session_and_peer_are_recorded() -> None:
    stage = set_stage(rule=denying())
    await asked(stage, "POST", ACCESS, QUERY, headers=[(b"sidecar-session", b"s-1")], peer="127.0.0.1:99")
    assert (stage.evidence.leaves[0].session, stage.evidence.leaves[0].peer) == ("s-1", "127.0.0.1:99")


async def test_a_session_takes_no_more_room_than_a_name() -> None:
    stage = set_stage()
    await asked(stage, "POST", ACCESS, QUERY, headers=[(b"sidecar-session", b"s" * 30_000)])
    assert {leaf.session for leaf in stage.evidence.leaves} == {"s" * 256}


async def test_call_ids_are_not_given_twice() -> None:
    stage = set_stage()
    one, other = AccessDoor(stage.parts), AccessDoor(stage.parts)
    ids = [door.new_id() for door in (one, other) for _ in range(100)]
    assert len(set(ids)) == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"plane_id": "nothing", "action": "query"}, ("unknown_plane", 404)),
        ({"plane_id": "knowledge", "action": "list"}, ("unsupported_action", 422)),
        ({"plane_id": "knowledge", "action": "delete"}, ("unsupported_action", 422)),
        ({"plane_id": "knowledge", "action": "execute"}, ("unsupported_action", 422)),
        ({"plane_id": "knowledge", "action": ["query"]}, ("unsupported_action", 422)),
        ({"plane_id": "knowledge"}, ("unsupported_action", 422)),
        ({"action": "query"}, ("invalid_payload", 422)),
        ({"plane_id": "", "action": "query"}, ("invalid_payload", 422)),
        ({"plane_id": 1, "action": "query"}, ("invalid_payload", 422)),
        ({"plane_id": "x" * 257, "action": "query"}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": None}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": []}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"operation": 1}}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"operation": "x"}}, ("unknown_operation", 404)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"url": "http://x"}}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "connector": "open"}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "principal": {"id": "root"}}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"idempotency_key": 1}}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"idempotency_key": ""}}, ("invalid_payload", 422)),
        ({"plane_id": "knowledge", "action": "query", "payload": {"parameters": []}}, ("invalid_payload", 422)),
        ([], ("invalid_payload", 422)),
        ("text", ("invalid_payload", 422)),
        (1, ("invalid_payload", 422)),
    ],
)
async def test_what_does_not_fit_is_refused_and_recorded(body: object, expected: tuple[str, int]) -> None:
    stage = set_stage()
    answer = await asked(stage, "POST", ACCESS, body)
    assert (code(answer), answer.status) == expected
    assert [(leaf.kind, leaf.code, leaf.principal) for leaf in stage.evidence.leaves] == [
        ("refusal", expected[0], "alice")
    ]
    assert stage.caller.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"plane_id":"a","plane_id":"b"}',
        b"1e9999",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xff",
        b"\xef\xbb\xbf{}",
    ],
)
async def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    stage = set_stage()
    answer = await asked(stage, "POST", ACCESS, raw=raw)
    assert (code(answer), answer.status) == ("invalid_json", 400)
    assert stage.evidence.leaves[0].code == "invalid_json"


async def test_a_deep_payload_is_refused_before_anything_reads_it() -> None:
    deep = b'{"plane_id":"knowledge","action":"query","payload":{"parameters":' + b"[" * 500 + b"]" * 500 + b"}}"
    stage = set_stage()
    assert code(await asked(stage, "POST", ACCESS, raw=deep)) == "invalid_json"
    assert stage.engine.documents == []


async def test_a_large_body_is_read_away_from_the_loop_and_judged_alike() -> None:
    stage = set_stage()
    answer = await asked(stage, "POST", ADD, {"parameters": {"item": "x" * 300_000}})
    assert answer.status == 200
    twice = b'{"pad":"' + b"x" * 300_000 + b'","parameters":null,"parameters":null}'
    assert code(await asked(stage, "POST", ADD, raw=twice)) == "invalid_json"


@pytest.mark.parametrize(
    "kind", [b"text/plain", b"", b"application/x-www-form-urlencoded", b"application/jsonx", b"text/json"]
)
async def test_a_body_of_another_type_is_refused(kind: bytes) -> None:
    answer = await asked(set_stage(), "POST", ACCESS, QUERY, headers=[(b"content-type", kind)])
    assert (code(answer), answer.status) == ("unsupported_media_type", 415)


async def test_a_body_without_a_type_is_refused() -> None:
    assert code(await asked(set_stage(), "POST", ACCESS)) == "unsupported_media_type"


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"Application/JSON", b" application/json "])
async def test_a_type_may_be_written_in_several_ways(kind: bytes) -> None:
    assert (await asked(set_stage(), "POST", ACCESS, QUERY, headers=[(b"content-type", kind)])).status == 200


async def test_a_body_over_the_limit_is_refused() -> None:
    stage = set_stage(changed("limits.body_bytes", 100))
    answer = await asked(stage, "POST", ACCESS, {"plane_id": "x" * 200, "action": "query"})
    assert (code(answer), answer.status) == ("body_too_large", 413)


# Who asks


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic " + ALICE.encode())],
        [(b"authorization", ALICE.encode())],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer " + ALICE.encode() + b"x")],
        [(b"proxy-authorization", b"Bearer " + ALICE.encode())],
        [(b"cookie", b"authorization=Bearer " + ALICE.encode())],
    ],
)
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", ACCESS, QUERY),
        ("POST", ACCESS, "not right either"),
        ("POST", ADD, {}),
        ("GET", "/v1/planes", None),
        ("GET", "/v1/planes/knowledge/operations", None),
        ("GET", "/v1/evidence", None),
        ("GET", "/v1/evidence/acme-00000000/0", None),
        ("GET", "/nothing", None),
        ("DELETE", "/v1/planes", None),
    ],
)
async def test_inv_6_every_route_asks_who_is_there_first(
    method: str, target: str, body: object, headers: list[tuple[bytes, bytes]]
) -> None:
    stage = set_stage()
    answer = await asked(stage, method, target, body, key=None, headers=headers)
    assert (code(answer), answer.status) == ("unauthenticated", 401)
    assert header(answer, b"www-authenticate") == b"Bearer"
    assert stage.engine.documents == []
    assert ALICE not in repr((answer, stage.evidence.leaves))


async def test_a_key_is_recognised_whatever_the_case_of_its_scheme() -> None:
    headers = [(b"authorization", b"bearer   " + ALICE.encode() + b" ")]
    assert (await asked(set_stage(), "GET", "/v1/planes", key=None, headers=headers)).status == 200


@pytest.mark.parametrize("name", [b"authorization", b"sidecar-session", b"content-type"])
async def test_a_header_that_comes_twice_is_one_recorded_refusal(name: bytes) -> None:
    twice = {
        b"authorization": [(name, b"Bearer " + ALICE.encode()), (name, b"Bearer " + BOB.encode())],
        b"sidecar-session": [(name, b"a"), (name, b"b"), (b"authorization", b"Bearer " + ALICE.encode())],
        b"content-type": [(name, b"application/json")] * 2 + [(b"authorization", b"Bearer " + ALICE.encode())],
    }[name]
    for method, target, body in (("POST", ACCESS, QUERY), ("GET", "/v1/planes", None), ("GET", "/nothing", None)):
        stage = set_stage()
        if name == b"content-type" and body is None:
            continue
        answer = await asked(stage, method, target, body, key=None, headers=twice)
        assert (code(answer), answer.status) == ("malformed", 400)
        assert [leaf.code for leaf in stage.evidence.leaves] == ["malformed"]


async def test_bytes_that_are_no_request_are_refused_and_recorded() -> None:
    stage = set_stage()
    answer = await AccessDoor(stage.parts).malformed(Refused("malformed", "Two lengths."), "10.0.0.9:1")
    assert (code(answer), answer.status) == ("malformed", 400)
    assert (stage.evidence.leaves[0].code, stage.evidence.leaves[0].peer) == ("malformed", "10.0.0.9:1")


async def test_a_fault_of_our_own_outside_of_a_call_is_recorded_and_tells_nothing() -> None:
    class Broken(MemoryEvidence):
        async def recent(self, *_: object) -> NoReturn:
            raise OSError("/secret/place")

    stage = set_stage(reader=Broken())
    answer = await asked(stage, "GET", "/v1/evidence")
    assert (code(answer), answer.status) == ("internal_error", 500)
    assert "secret" not in str(document(answer))
    assert [(leaf.code, leaf.principal) for leaf in stage.evidence.leaves] == [("internal_error", "alice")]
    assert stage.observer.named("failure") == [{"error": "OSError"}]


async def test_what_is_not_there_is_a_problem_too() -> None:
    assert code(await asked(set_stage(), "GET", "/v2/planes")) == "not_found"
    answer = await asked(set_stage(), "PUT", ACCESS, {})
    assert (code(answer), answer.status, header(answer, b"allow")) == ("method_not_allowed", 405, b"POST")


# Answers


async def test_a_limit_says_when_to_come_back() -> None:
    for wait, shown in ((0.2, b"1"), (1.0, b"1"), (1.2, b"2"), (2.0, b"2"), (59.01, b"60")):
        stage = set_stage()
        stage.counter.waits["principal:alice"] = wait
        answer = await asked(stage, "POST", ACCESS, QUERY)
        assert (code(answer), answer.status) == ("rate_limited", 429)
        assert header(answer, b"retry-after") == shown


async def test_every_violation_is_listed() -> None:
    body = {"plane_id": "knowledge", "action": "retrieve", "payload": {"parameters": {"page": 0, "x": 1}}}
    answer = await asked(set_stage(), "POST", ACCESS, body)
    assert code(answer) == "invalid_payload"
    assert len(document(answer)["reasons"]) == 3


async def test_an_upstreams_failure_is_ours_to_explain() -> None:
    stage = set_stage(None, *[UpstreamFailure("upstream_timeout", "It took too long.", sent=True)] * 2)
    answer = await asked(stage, "POST", ACCESS, QUERY)
    assert (code(answer), answer.status) == ("upstream_timeout", 502)


async def test_a_stream_names_its_evidence_in_a_trailer() -> None:
    stage = set_stage(None, answered(Pieces(b"one"), 200, [(b"content-type", b"text/event-stream")]))
    answer = await asked(stage, "POST", "/v1/connectors/crm/operations/watch", {})
    assert answer.status == 200
    assert header(answer, b"trailer") == b"sidecar-evidence-id"
    assert header(answer, b"sidecar-evidence-id") is None
    assert answer.trailers is not None
    assert answer.trailers() == []
    assert not isinstance(answer.body, bytes)
    assert [piece async for piece in answer.body] == [b"one"]
    assert answer.trailers() == [(b"sidecar-evidence-id", b"acme-00000000/2")]


def test_a_refusal_without_evidence_says_null() -> None:
    problem = Problem(
        type="t",
        title="t",
        status=503,
        detail="d",
        code="evidence_unavailable",
        evidence_id=None,
        policy_revision=None,
    )
    answer = reply(Outcome(call_id="c", status=503, problem=problem))
    assert code(answer) == "evidence_unavailable"
    assert header(answer, b"retry-after") is None


async def test_an_upstream_cannot_forge_our_headers() -> None:
    forged = [(b"sidecar-evidence-id", b"forged/1"), (b"sidecar-call-id", b"forged"), (b"www-authenticate", b"Basic")]
    answer = await asked(set_stage(None, answered(headers=forged)), "POST", ACCESS, QUERY)
    assert header(answer, b"sidecar-evidence-id") == b"acme-00000000/1"
    assert header(answer, b"sidecar-call-id") != b"forged"
    assert header(answer, b"www-authenticate") is None


# Planes


async def test_planes_are_listed() -> None:
    answer = await asked(set_stage(), "GET", "/v1/planes")
    assert answer.status == 200
    assert document(answer) == {
        "planes": [
            {
                "id": "knowledge",
                "source": "crm",
                "actions": {"query": ["find"], "retrieve": ["get"], "search": ["find", "get"]},
            }
        ]
    }


async def test_a_planes_operations_are_those_that_policy_allows_with_their_schemas() -> None:
    def rule(asked_for: bytes) -> bytes:
        return decision(b'"operation":{"id":"get"' in asked_for and b'"action":"retrieve"' in asked_for)

    stage = set_stage(rule=rule)
    answer = await asked(stage, "GET", "/v1/planes/knowledge/operations")
    operation = CONFIG["connectors"]["crm"]["operations"]["get"]
    assert document(answer) == {
        "plane": "knowledge",
        "operations": [
            {"action": "retrieve", "operation": "get", "effect": "read", "parameters": operation["parameters"]}
        ],
    }
    assert stage.kinds == ["outcome"]
    assert header(answer, b"sidecar-evidence-id") == b"acme-00000000/0"


async def test_an_offer_that_fails_is_not_an_empty_one() -> None:
    answer = await asked(set_stage(rule=None), "GET", "/v1/planes/knowledge/operations")
    assert (code(answer), answer.status) == ("policy_unavailable", 403)
    assert code(await asked(set_stage(), "GET", "/v1/planes/nothing/operations")) == "unknown_plane"


# Evidence


async def history() -> Stage:
    """alice's call (0, 1), bob's call (2, 3), alice's refusal (4)."""
    stage = set_stage()
    await stage.handle("alice")
    await stage.handle("bob")
    await stage.handle("alice", connector="nothing", operation="x")
    return stage


async def test_ones_own_evidence_newest_first_and_by_pages() -> None:
    stage = await history()
    pages = []
    target = "/v1/evidence?limit=2"
    while True:
        page = document(await asked(stage, "GET", target))
        pages.append([record["index"] for record in page["records"]])
        if page["next"] is None:
            break
        target = f"/v1/evidence?limit=2&before={page['next']}"
    assert [index for page in pages for index in page] == [4, 1, 0]


async def test_inv_6_anothers_evidence_is_not_there() -> None:
    stage = await history()
    assert {record["principal"] for record in document(await asked(stage, "GET", "/v1/evidence"))["records"]} == {
        "alice"
    }
    for index, status in ((0, 200), (1, 200), (4, 200), (2, 404), (3, 404), (99, 404)):
        answer = await asked(stage, "GET", f"/v1/evidence/acme-00000000/{index}")
        assert answer.status == status
        if status == 404:
            assert code(answer) == "unknown_evidence"
    hidden, missing = [document(await asked(stage, "GET", f"/v1/evidence/acme-00000000/{at}")) for at in (2, 99)]
    assert {key: hidden[key] for key in ("title", "detail", "code")} == {
        key: missing[key] for key in ("title", "detail", "code")
    }


async def test_inv_6_a_record_without_a_principal_is_nobodys() -> None:
    stage = set_stage()
    await stage.handle(None)
    assert document(await asked(stage, "GET", "/v1/evidence"))["records"] == []
    assert (await asked(stage, "GET", "/v1/evidence/acme-00000000/0")).status == 404


@pytest.mark.parametrize(
    "place",
    ["acme-00000000/-1", "acme-00000000/1.0", "acme-00000000/0x1", "acme-00000000/" + "9" * 30, "other-00000000/0"],
)
async def test_an_id_that_is_none_is_not_there(place: str) -> None:
    stage = await history()
    assert code(await asked(stage, "GET", f"/v1/evidence/{place}")) == "unknown_evidence"


async def test_inv_6_an_agent_sees_nothing_of_transport_and_vault_in_its_evidence() -> None:
    stage = await history()
    for target in ("/v1/evidence", "/v1/evidence/acme-00000000/0", "/v1/evidence/acme-00000000/1"):
        answer = await asked(stage, "GET", target)
        assert isinstance(answer.body, bytes)
        assert b"93.184.216.34" not in answer.body
        assert b"encrypted://" not in answer.body
        assert b"credential" not in answer.body
        assert b"api.example" in answer.body


@pytest.mark.parametrize(
    "query",
    [
        *(
            "limit=501",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "before=1e3",
            "principal=bob",
            "limit=\u0661",
        ),
        *("before=" + "9" * 30, "limit=1;before=2", "LIMIT=1"),
    ],
)
async def test_an_odd_query_is_refused(query: str) -> None:
    assert code(await asked(await history(), "GET", f"/v1/evidence?{query}")) == "invalid_payload"


async def test_an_odd_number_is_named() -> None:
    answer = await asked(await history(), "GET", "/v1/evidence?limit=x")
    assert isinstance(answer.body, bytes)
    assert b"limit must be a number from 0 to 500." in answer.body


@pytest.mark.parametrize("query", ["limit=0", "limit=1", "before=0", "limit=500&before=4", "", "&"])
async def test_a_plain_query_is_taken(query: str) -> None:
    assert (await asked(await history(), "GET", f"/v1/evidence?{query}")).status == 200


async def test_reading_takes_from_the_callers_rate() -> None:
    stage = await history()
    stage.counter.waits["principal:alice"] = 2.0
    for target in ("/v1/evidence", "/v1/evidence/acme-00000000/0", "/v1/planes", "/v1/planes/knowledge/operations"):
        answer = await asked(stage, "GET", target)
        assert code(answer) == "rate_limited"
        assert header(answer, b"retry-after") == b"2"
