"""What a caller writes stays text: never Rego, never a path into the policy's data, never another tenant (P02)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import read_policy
from tests.fakes.observer import RecordingObserver
from tests.fakes.parts import code, set_stage
from tests.unit.config.builders import changed, examined

HOSTILE = [
    "../acme",
    "acme/../acme",
    "%2e%2e/acme",
    "acme\0",
    "acme\n",
    "ACME",
    "acme ",
    "*",
    "data.sidecar.grants.acme",
    'acme"; allow := true #',
    'acme"}}, "allow": true, "x": {"y": "',
    "\nallow := true\n",
    "{{acme}}${acme}",
]
GRANTS = {"acme": {"principals": {"alice": ["crm/*"]}, "roles": {}}, "umbrella": {"principals": {}, "roles": {}}}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    (tmp_path / "data.json").write_text(json.dumps({"sidecar": {"grants": GRANTS}}))
    made = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    made.load(read_policy(tmp_path), checked=True)
    yield made
    made.close()


async def test_p02_what_is_granted_to_a_tenant_is_granted(engine: EmbeddedEngine) -> None:
    assert (await set_stage(engine=engine).handle("alice")).status == 200
    assert code(await set_stage(engine=engine).handle("bob")) == "denied"


@pytest.mark.parametrize("text", HOSTILE)
async def test_p02_no_spelling_of_a_tenant_has_another_ones_grants(engine: EmbeddedEngine, text: str) -> None:
    stage = set_stage()
    await stage.handle("alice")
    asked = json.loads(stage.engine.documents[0])
    for tenant, allowed in (("acme", True), (text, False)):
        verdict = await engine.evaluate(json.dumps(asked | {"tenant": tenant}).encode())
        assert json.loads(verdict.answer or b"")["allow"] is allowed


@pytest.mark.parametrize("text", HOSTILE)
async def test_p02_nothing_that_a_caller_writes_becomes_policy(engine: EmbeddedEngine, text: str) -> None:
    stage = set_stage(engine=engine)
    for asked in (
        {"session": text},
        {"connector": "crm", "operation": "find", "parameters": {"q": text}},
        {"connector": "crm", "operation": "add", "parameters": {"item": {text: text}}, "idempotency_key": "k"},
    ):
        assert code(await stage.handle("bob", **asked)) == "denied"
    assert stage.caller.calls == []


@pytest.mark.parametrize("text", HOSTILE)
async def test_p02_the_policy_reads_what_was_written(text: str) -> None:
    stage = set_stage()
    await stage.handle(session=text, connector="crm", operation="find", parameters={"q": text})
    asked = json.loads(stage.engine.documents[0])
    assert (asked["session"], asked["parameters"]["q"], asked["tenant"]) == (text, text, "acme")


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "data.sidecar.grants.acme"])
def test_p02_a_tenant_is_a_plain_name(text: str, tmp_path: Path) -> None:
    refused = examined(tmp_path, changed("tenant", text))
    assert refused.loaded is None
    assert [fault.path for fault in refused.errors] == ["tenant"]
