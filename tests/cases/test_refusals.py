"""Every code of ``refusals.yaml`` through the agent's door, with its status, its record and what was sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from sidecar.errors import CODES, UpstreamFailure
from sidecar.listeners.access import AccessDoor
from sidecar.model.registry import Row
from sidecar.pipeline.switches import Switches
from sidecar.rules.catalogue import Standing
from tests.fakes.answers import answered
from tests.fakes.parts import Stage, allowing, changed, denying, key_of, raising, set_stage
from tests.fakes.requests import asking, document, header

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())
ROWS: list[dict[str, Any]] = TABLE["reached"]
GET = "/v1/connectors/crm/operations/get"
ID = {"parameters": {"id": "7"}}
NO_RETRY = changed("connectors.crm.retry.attempts", 1)


class Scenario(NamedTuple):
    """The stage, and the request that is asked on it."""

    stage: Stage
    method: str = "POST"
    target: str = GET
    body: object = ID
    name: str | None = "alice"
    raw: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


def failing(code: str) -> Scenario:
    return Scenario(set_stage(NO_RETRY, UpstreamFailure(code, "It failed.", sent=True)))


def access(action: str, plane: str = "knowledge") -> Scenario:
    return Scenario(set_stage(), target="/v1/access", body={"plane_id": plane, "action": action})


def answering(body: bytes, *headers: tuple[bytes, bytes], operation: str = "get") -> Scenario:
    target = f"/v1/connectors/crm/operations/{operation}"
    return Scenario(
        set_stage(None, answered(body, headers=headers)), target=target, body={} if operation != "get" else ID
    )


def prepared(prepare: Callable[[Stage], object], config: dict[str, Any] | None = None) -> Scenario:
    stage = set_stage(config)
    prepare(stage)
    return Scenario(stage)


def opened_circuit(stage: Stage) -> None:
    traffic = stage.parts.traffic.setdefault("crm", _traffic())
    for _ in range(5):
        traffic.failed(
            stage.parts.catalogue.connectors["crm"].section, "upstream_timeout", stage.clock.monotonic(), 1
        )


def _traffic() -> Any:
    from sidecar.pipeline.traffic import Traffic

    return Traffic()


def full(stage: Stage) -> None:
    stage.parts.traffic.setdefault("crm", _traffic()).in_flight = 128


def stand(stage: Stage, standing: Standing) -> None:
    stage.parts.catalogue = msgspec.structs.replace(stage.parts.catalogue, standing=standing)


SWITCHED = Row(
    tenant="acme",
    kind="switch",
    id="principal:alice",
    version=1,
    sequence=1,
    document={"reason": "it went wild"},
    by="ada",
    at=1,
)
TWO_KEYS = ((b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"))
BUSY = {"principal:alice": 3.0}
METADATA = {"api.example": ("169.254.169.254",)}

SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "malformed": lambda: Scenario(set_stage(), name=None, headers=TWO_KEYS),
    "invalid_json": lambda: Scenario(set_stage(), raw=b'{"parameters":{},"parameters":{}}'),
    "not_found": lambda: Scenario(set_stage(), target="/v1/nothing"),
    "method_not_allowed": lambda: Scenario(set_stage(), method="PUT"),
    "body_too_large": lambda: Scenario(set_stage(changed("limits.body_bytes", 10))),
    "unsupported_media_type": lambda: Scenario(set_stage(), headers=((b"content-type", b"text/plain"),)),
    "unauthenticated": lambda: Scenario(set_stage(), name=None),
    "tenant_mismatch": lambda: Scenario(set_stage(), name="stranger"),
    "unknown_plane": lambda: access("query", "nothing"),
    "unknown_connector": lambda: Scenario(set_stage(), target="/v1/connectors/nothing/operations/get"),
    "unknown_operation": lambda: Scenario(set_stage(), target="/v1/connectors/crm/operations/nothing"),
    "unknown_evidence": lambda: Scenario(set_stage(), "GET", "/v1/evidence/acme-00000000/0", None),
    "tenant_suspended": lambda: prepared(lambda stage: stand(stage, Standing(suspended=True))),
    "killed": lambda: prepared(lambda stage: stage.switches.take(SWITCHED)),
    "registry_unavailable": lambda: prepared(lambda stage: setattr(stage.parts, "switches", Switches(60.0))),
    "inactive": lambda: prepared(lambda stage: stand(stage, Standing(inactive=frozenset({("connector", "crm")})))),
    "not_capable": lambda: Scenario(set_stage(changed("connectors.crm.capabilities", ["write"]))),
    "unsupported_action": lambda: access("list"),
    "invalid_payload": lambda: Scenario(set_stage(), body={"parameters": {"id": "7", "page": 0}}),
    "rate_limited": lambda: prepared(lambda stage: stage.counter.waits.update(BUSY)),
    "too_many_in_flight": lambda: prepared(full),
    "denied": lambda: Scenario(set_stage(rule=denying(("no_grant", "m")))),
    "policy_unavailable": lambda: Scenario(set_stage(rule=None)),
    "approval_required": lambda: Scenario(set_stage(rule=allowing(require_approval=True))),
    "destination_forbidden": lambda: prepared(lambda stage: stage.resolver.names.update(METADATA)),
    "credential_unavailable": lambda: prepared(lambda stage: stage.credentials.delete("crm")),
    "credential_misused": lambda: Scenario(set_stage(changed("credentials.crm.hosts", ["other.example:443"]))),
    "upstream_unavailable": lambda: failing("upstream_unavailable"),
    "upstream_timeout": lambda: failing("upstream_timeout"),
    "upstream_invalid": lambda: failing("upstream_invalid"),
    "circuit_open": lambda: prepared(opened_circuit),
    "answer_too_large": lambda: failing("answer_too_large"),
    "answer_unexpected": lambda: answering(b"<html>", (b"content-type", b"text/html"), operation="typed"),
    "answer_withheld": lambda: answering(b"\x1f\x8b", (b"content-encoding", b"gzip")),
    "evidence_unavailable": lambda: prepared(lambda stage: setattr(stage.evidence, "available", False)),
    "internal_error": lambda: Scenario(set_stage(NO_RETRY, raising(KeyError("inside")))),
}


@pytest.mark.parametrize("row", ROWS, ids=[row["code"] for row in ROWS])
async def test_each_refusal_is_what_the_table_says(row: dict[str, Any]) -> None:
    scene = SCENARIOS[row["code"]]()
    key = key_of(scene.name) if scene.name else None
    request = asking(scene.method, scene.target, scene.body, key=key, raw=scene.raw, headers=list(scene.headers))
    answer = await AccessDoor(scene.stage.parts).answer(request)
    shown = document(answer)
    assert header(answer, b"content-type") == b"application/problem+json"
    assert (shown["code"], answer.status, shown["status"]) == (row["code"], row["status"], row["status"])
    assert len(scene.stage.caller.calls) == int(row.get("sent", False))
    if row.get("evidence", True):
        last = scene.stage.evidence.leaves[-1]
        assert shown["evidence_id"] == f"acme-00000000/{last.index}"
        assert last.code == row["code"]
    else:
        assert shown["evidence_id"] is None
    assert (
        scene.stage.kinds
        == {
            (True, True): ["intent", "outcome"],
            (False, True): ["refusal"],
            (False, False): [],
        }[row.get("intent", False), row.get("evidence", True)]
    )


def test_the_table_knows_every_code() -> None:
    reached = [row["code"] for row in ROWS]
    assert len(reached) == len(set(reached))
    assert set(reached) == set(SCENARIOS)
    assert set(reached) | set(TABLE["elsewhere"]) == set(CODES)
    assert not set(reached) & set(TABLE["elsewhere"])


def test_the_table_agrees_with_the_codes_statuses() -> None:
    assert {row["code"]: row["status"] for row in ROWS} == {row["code"]: CODES[row["code"]].status for row in ROWS}
