"""Leaves made from a trail: what is known so far, and never a secret."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from sidecar.config.sections import Config
from sidecar.errors import Reason, Refused
from sidecar.model.call import Call
from sidecar.model.decision import Decision, Obligations, PolicyReason
from sidecar.model.evidence import Attachment, CredentialUse, DestinationUse, Leaf, Result
from sidecar.model.secret import Secret
from sidecar.pipeline.record import Trail, agents_view, body_record, counted_leaf
from sidecar.pipeline.select import select
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.parts import CONFIG, key_of

CATALOGUE = compile_catalogue(msgspec.convert(CONFIG, Config))


def trail(**more: Any) -> Trail:
    call: dict[str, Any] = {
        "id": "c",
        "surface": "access",
        "action": "query",
        "plane": "knowledge",
        "token": Secret(key_of("alice")),
    }
    return Trail(Call(**(call | more)), "acme", 10.0)


def decided(**obligations: Any) -> Trail:
    made = trail(idempotency_key="i-1", session="s")
    made.principal = CATALOGUE.keys["key_alice"].principal
    made.target = select(made.call, CATALOGUE)
    made.decision = Decision(True, (PolicyReason("granted", "m"),), Obligations(**obligations))
    made.revision, made.input_hash = "sha256:r", "h"
    made.destination = DestinationUse("api.example", 443, "93.184.216.34")
    return made


def test_a_refusal_at_the_door_records_what_is_known() -> None:
    leaf = trail(peer="127.0.0.1:1").refusal_leaf(Refused("unauthenticated", "Who?", [Reason("r", "m")]))
    assert (leaf.kind, leaf.code, leaf.tenant, leaf.peer) == ("refusal", "unauthenticated", "acme", "127.0.0.1:1")
    assert leaf.principal is None
    assert leaf.connector is None
    assert leaf.reasons == ({"code": "r", "message": "m"},)
    assert leaf.decision is None


def test_an_intent_says_what_may_be_done_and_why() -> None:
    leaf = decided(max_bytes=5, mask=("/a",)).intent_leaf()
    assert (leaf.kind, leaf.decision, leaf.bundle, leaf.input_hash) == ("intent", True, "sha256:r", "h")
    assert (leaf.tenant, leaf.principal, leaf.key, leaf.plane, leaf.connector, leaf.operation) == (
        *("acme", "alice", "key_alice", "knowledge", "crm", "find"),
    )
    assert leaf.obligations == {"mask": ("/a",), "max_bytes": 5}
    assert leaf.reasons == ({"code": "granted", "message": "m"},)
    assert (leaf.idempotency_key, leaf.session) == ("i-1", "s")


def test_obligations_that_ask_for_nothing_are_left_out() -> None:
    assert decided().intent_leaf().obligations is None


def test_what_follows_an_intent_is_its_outcome() -> None:
    made = decided()
    made.intent = 7
    made.result = Result(status=200, bytes=3, hash="h")
    made.lap("total", 10.0, 10.25)
    assert (made.outcome_leaf().kind, made.outcome_leaf().intent) == ("outcome", 7)
    assert made.outcome_leaf().timings == {"total": 250_000}
    refused = made.refusal_leaf(Refused("answer_withheld", "No."))
    assert (refused.kind, refused.intent, refused.code, refused.decision) == ("outcome", 7, "answer_withheld", True)
    chunk = made.chunk_leaf(Result(status=200, bytes=1, hash="x"))
    assert (chunk.kind, chunk.intent) == ("chunk", 7)


def test_inv_5_no_leaf_of_a_trail_holds_the_callers_key() -> None:
    made = decided()
    leaves = [made.intent_leaf(), made.outcome_leaf(), made.refusal_leaf(Refused("denied", "No."))]
    assert key_of("alice").encode() not in msgspec.json.encode(leaves)


def test_bodies_are_kept_whatever_they_are() -> None:
    kept = json.loads(body_record(b"\xff\x00", b""))
    assert base64.b64decode(kept["request"]) == b"\xff\x00"
    assert kept["answer"] == ""


def test_a_counted_leaf_stands_for_many() -> None:
    leaf = counted_leaf("acme", "c-9", "10.0.0.1", "malformed", 12)
    assert (leaf.kind, leaf.code, leaf.count, leaf.peer, leaf.tenant) == (
        *("refusal", "malformed", 12, "10.0.0.1", "acme"),
    )


def test_inv_6_agents_see_nothing_of_transport_and_vault() -> None:
    leaf = Leaf(
        v=1,
        kind="outcome",
        origin="o",
        index=3,
        call_id="c",
        time=1,
        tenant="acme",
        principal="alice",
        destination=DestinationUse("api.example", 443, ip="10.1.2.3", sni="inner.example", peer="10.1.2.3"),
        credential=CredentialUse("vault://kv/data/crm#token", "v-9"),
        attachment=Attachment("a" * 64, "tenant-key-1"),
        result=Result(status=200, bytes=3, hash="h"),
    )
    seen = msgspec.json.encode(agents_view(leaf)).decode()
    for hidden in ("10.1.2.3", "inner.example", "vault", "v-9", "tenant-key-1", "a" * 64):
        assert hidden not in seen
    assert "api.example" in seen
    assert '"index":3' in seen
