"""What an agent meets at its door: calls that are answered, refusals that say why, and the evidence of both."""

from __future__ import annotations

import contextlib
import http.client

import pytest

from tests.e2e.far import Far
from tests.e2e.house import AGENT, COLLEAGUE, STRANGER, WAIT, Answer, House, ask

Shared = tuple[House, Far]


def check_refused(house: House, answer: Answer, status: int, code: str, owner: str | None = AGENT) -> str:
    """The refusal is a whole problem document, and its record is its owner's alone. Returns the evidence id."""
    assert (answer.status, answer.code) == (status, code), answer.body
    document = answer.document
    assert document.keys() == {
        *("type", "title", "status", "detail", "code", "evidence_id", "policy_revision", "reasons")
    }
    assert document["type"] == f"urn:policy-sidecar:problem:{code}"
    assert document["status"] == status
    assert document["detail"]
    assert answer.headers["Cache-Control"] == "no-store"
    evidence_id = document["evidence_id"]
    assert evidence_id is not None
    assert evidence_id == answer.evidence_id
    if owner is not None:
        leaf = house.evidence(evidence_id, owner).document
        assert leaf["code"] == code
        assert leaf["principal"] == owner
        assert f"{leaf['origin']}/{leaf['index']}" == evidence_id
    for other in {AGENT, COLLEAGUE} - {owner}:
        assert house.evidence(evidence_id, other).status == 404
    return str(evidence_id)


@pytest.mark.parametrize(
    ("action", "operation", "target"),
    [
        ("query", None, "/find/{}"),
        ("retrieve", None, "/read/{}"),
        ("search", "find", "/find/{}"),
        ("search", "read", "/read/{}"),
        ("list", None, "/read/{}"),
    ],
)
def test_each_action_of_a_plane_reaches_its_operation(
    shared: Shared, action: str, operation: str | None, target: str
) -> None:
    house, far = shared
    topic = f"{action}-{operation}"
    answer = house.access(action, {"topic": topic}, operation=operation)
    assert (answer.status, answer.body) == (200, b'{"ok":true}')
    assert len(far.of(target.format(topic))) == 1
    leaf = house.evidence(answer.evidence_id).document
    assert (leaf["kind"], leaf["action"], leaf["plane"], leaf["principal"]) == ("outcome", action, "articles", AGENT)


def test_an_operation_by_name_writes_and_its_key_travels(shared: Shared) -> None:
    house, far = shared
    answer = house.operation("write", {"topic": "named"}, call="order-7")
    assert answer.status == 200
    (seen,) = far.of("/write/named")
    assert (seen.method, seen.headers["x-call"]) == ("POST", "order-7")
    outcome = house.evidence(answer.evidence_id).document
    intent = house.evidence(f"{outcome['origin']}/{outcome['intent']}").document
    assert (intent["kind"], intent["idempotency_key"], intent["decision"]) == ("intent", "order-7", True)
    assert intent["index"] < outcome["index"]


def test_what_was_allowed_is_its_callers_record_alone(shared: Shared) -> None:
    house, _ = shared
    answer = house.access("query")
    assert house.evidence(answer.evidence_id, AGENT).status == 200
    check_refused(house, house.evidence(answer.evidence_id, COLLEAGUE), 404, "unknown_evidence", COLLEAGUE)
    listed = house.request("GET", "/v1/evidence?limit=500", key=COLLEAGUE).document["records"]
    assert {leaf["principal"] for leaf in listed} <= {COLLEAGUE}


def test_an_operation_without_a_grant_is_denied(shared: Shared) -> None:
    house, far = shared
    answer = house.operation("remove", {"topic": "ungranted"})
    check_refused(house, answer, 403, "denied")
    assert [reason["code"] for reason in answer.document["reasons"]] == ["effect_not_granted"]
    assert answer.document["policy_revision"].startswith("sha256:")
    assert far.of("/remove/ungranted") == []


def test_another_principals_grant_is_nobody_elses(shared: Shared) -> None:
    house, far = shared
    check_refused(house, house.access("query", {"topic": "colleague"}, key=COLLEAGUE), 403, "denied", COLLEAGUE)
    assert far.of("/find/colleague") == []


@pytest.mark.parametrize("key", ["none", "unknown", "changed", "basic"])
def test_a_caller_who_is_not_known_learns_only_that(shared: Shared, key: str) -> None:
    house, far = shared
    mine = house.keys[AGENT].key
    sent = {
        "none": None,
        "unknown": "Bearer scp_nobody_" + "A" * 43,
        "changed": f"Bearer {mine[:-2]}{'AA' if mine[-2:] != 'AA' else 'BB'}",
        "basic": f"Basic {mine}",
    }[key]
    answer = raw_call(house, sent, topic=f"stranger-{key}")
    check_refused(house, answer, 401, "unauthenticated", None)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert far.of(f"/find/stranger-{key}") == []


def raw_call(house: House, authorization: str | None, topic: str) -> Answer:
    headers = {} if authorization is None else {"Authorization": authorization}
    body = {"plane_id": "articles", "action": "query", "payload": {"parameters": {"topic": topic}}}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", house.ports["access"], timeout=WAIT)) as door:
        return ask(door, "POST", "/v1/access", body, headers)


def test_a_caller_of_another_tenant_is_turned_away(shared: Shared) -> None:
    house, far = shared
    answer = house.access("query", {"topic": "foreign"}, key=STRANGER)
    evidence_id = check_refused(house, answer, 403, "tenant_mismatch", None)
    assert far.of("/find/foreign") == []
    assert house.evidence(evidence_id, STRANGER).code == "tenant_mismatch"  # not even its own refusal is read here


def test_every_violation_of_a_payload_is_listed(shared: Shared) -> None:
    house, far = shared
    answer = house.access("query", {"topic": "", "limit": 99, "host": "evil.example"})
    check_refused(house, answer, 422, "invalid_payload")
    told = " ".join(reason["message"] for reason in answer.document["reasons"])
    assert len(answer.document["reasons"]) == 3
    for name in ("topic", "limit", "host"):
        assert name in told
    assert not [seen for seen in far.seen if "evil" in seen.raw.decode("latin-1")]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/access", {"plane_id": "no-such", "action": "query", "payload": {}}, 404, "unknown_plane"),
        ("/v1/connectors/no-such/operations/read", {"parameters": {}}, 404, "unknown_connector"),
        ("/v1/connectors/up/operations/no-such", {"parameters": {}}, 404, "unknown_operation"),
        (
            "/v1/access",
            {"plane_id": "articles", "action": "query", "payload": {"operation": "no-such"}},
            404,
            "unknown_operation",
        ),
        ("/v1/access", {"plane_id": "articles", "action": "delete", "payload": {}}, 422, "unsupported_action"),
        (
            "/v1/access",
            {"plane_id": "articles", "action": "query", "payload": {}, "url": "x"},
            422,
            "invalid_payload",
        ),
        ("/v1/no-such-route", {}, 404, "not_found"),
    ],
)
def test_what_does_not_exist_is_told_apart(
    shared: Shared, path: str, body: dict[str, object], status: int, code: str
) -> None:
    house, _ = shared
    check_refused(house, house.request("POST", path, body), status, code)


def test_a_plane_shows_what_its_caller_may_call(shared: Shared) -> None:
    house, _ = shared
    offered = house.request("GET", "/v1/planes/articles/operations").document["operations"]
    assert {(one["action"], one["operation"]) for one in offered} == {
        *(("query", "find"), ("retrieve", "read"), ("search", "find"), ("search", "read"), ("list", "read"))
    }
    assert house.request("GET", "/v1/planes/articles/operations", key=COLLEAGUE).document["operations"] == []


def test_evidence_of_a_drained_sidecar_is_whole_and_signed_to_its_last_record(house: House, far: Far) -> None:
    house.start()
    assert house.access("query").status == 200
    assert house.operation("remove").status == 403
    assert house.access("query", {}).status == 422
    assert house.request("GET", "/v1/nothing", key=None).status == 401
    assert house.stop() == 0
    report = house.verified()
    kinds = [leaf.kind for leaf in house.leaves()]
    assert sorted(kinds) == ["intent", "outcome", "refusal", "refusal", "refusal"]
    assert report.records == report.checkpoint_size == 5
    assert report.unknown == []
    assert house.sidecar("evidence", "verify").returncode == 0
    assert len(far.seen) == 1
