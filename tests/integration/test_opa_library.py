"""The shipped Rego: its own tests, its coverage, its style and types, and what it decides in the engine."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import library_directory, read_policy
from sidecar.adapters.policy.library import opa_executable
from sidecar.model.decision import Decision, PolicyInput
from tests.fakes.observer import RecordingObserver
from tests.fixtures.programs import program

COVERAGE = 95.0  # per cent, of every file


def opa(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [opa_executable(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "input.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.schema(PolicyInput)))
    return path


def test_the_rego_tests_pass_and_cover_the_rules() -> None:
    ran = opa("test", library_directory())
    assert ran.returncode == 0, ran.stdout
    assert "PASS" in ran.stdout
    report = json.loads(opa("test", library_directory(), "--coverage").stdout)
    rules = {name: file["coverage"] for name, file in report["files"].items() if not name.endswith("_test.rego")}
    assert len(rules) == len([path for path in library_directory().rglob("*.rego") if "_test" not in path.name])
    assert {name: share for name, share in rules.items() if share < COVERAGE} == {}


def test_every_rule_file_has_a_test_beside_it() -> None:
    rules = [path for path in library_directory().rglob("*.rego") if not path.name.endswith("_test.rego")]
    assert rules
    assert [path.name for path in rules if not path.with_name(f"{path.stem}_test.rego").is_file()] == []


def test_the_rego_is_strict_typed_and_formatted(schema: Path) -> None:
    checked = opa("check", "--strict", "--schema", schema, library_directory())
    assert (checked.returncode, checked.stderr) == (0, "")
    formatted = opa("fmt", "--diff", "--fail", library_directory())
    assert (formatted.returncode, formatted.stdout) == (0, "")


@pytest.mark.needs_regal
def test_the_rego_is_what_the_linter_asks_for() -> None:
    linted = subprocess.run(
        [program("regal"), "lint", "--no-color", library_directory()],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def annotated(name: str) -> list[Any]:
    found = json.loads(opa("inspect", "--annotations", "--format", "json", library_directory()).stdout)["annotations"]
    assert found
    return [entry["annotations"].get(name) for entry in found]


def test_every_reason_code_is_named_beside_its_rule() -> None:
    text = "".join(path.read_text() for path in library_directory().rglob("*.rego") if "_test" not in path.name)
    given = re.findall(r'^\t"code": "(\w+)",$', text, re.MULTILINE)
    named = [code for custom in annotated("custom") if custom for code in custom["reason_codes"]]
    assert sorted(named) == sorted(given)
    assert len(set(named)) == len(named) == 11


def test_the_decision_is_the_one_entry_point_and_every_annotation_has_a_title() -> None:
    assert annotated("entrypoint").count(True) == 1
    assert all(annotated("title"))


def test_a_misspelt_input_is_caught_by_the_check(schema: Path, tmp_path: Path) -> None:
    (tmp_path / "custom.rego").write_text("package sidecar.custom\nallow if input.principal.idd\n")
    checked = opa("check", "--strict", "--schema", schema, tmp_path / "custom.rego")
    assert checked.returncode != 0
    assert "custom.rego:2" in checked.stderr


CALL: dict[str, Any] = {
    "version": 1,
    "tenant": "acme",
    "principal": {"id": "agent-7", "kind": "agent", "roles": [], "labels": {}},
    "session": None,
    "surface": "access",
    "action": "execute",
    "effect": "read",
    "plane": None,
    "connector": {"id": "orders", "kind": "http", "labels": {}},
    "operation": {"id": "get", "labels": {}},
    "parameters": {"id": "o-1"},
    "request": None,
    "destination": None,
    "usage": {"over": []},
    "switches": [],
    "findings": [],
    "time": {"minute": 0, "hour": 12, "weekday": 2, "date": "2030-01-09"},
}
GRANTS = "sidecar: {grants: {acme: {principals: {agent-7: [orders/get]}}}}\n"


async def decide(tmp_path: Path, files: dict[str, str], **change: Any) -> Decision:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    engine = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    engine.load(read_policy(tmp_path))
    assert not engine.reads_destination
    verdict = await engine.evaluate(msgspec.json.encode(msgspec.convert(CALL | change, PolicyInput)))
    engine.close()
    assert verdict.answer is not None
    return msgspec.json.decode(verdict.answer, type=Decision)


async def test_inv_3_without_any_policy_of_its_own_a_tenant_is_denied_everything(tmp_path: Path) -> None:
    decision = await decide(tmp_path, {})
    assert not decision.allow
    assert [reason.code for reason in decision.reasons] == ["no_grant"]


async def test_a_grant_in_data_allows(tmp_path: Path) -> None:
    assert (await decide(tmp_path, {"data.yaml": GRANTS})).allow
    assert not (await decide(tmp_path, {}, effect="write")).allow
    assert not (await decide(tmp_path, {}, tenant="globex")).allow


async def test_a_tenants_own_rules_join_in(tmp_path: Path) -> None:
    rego = (
        "package sidecar.custom\n"
        'deny contains {"code": "weekend", "message": "Not on weekends."} if input.time.weekday > 4\n'
        'obligations := {"max_bytes": 100, "mask": ["/email"]}\n'
    )
    decision = await decide(tmp_path, {"data.yaml": GRANTS, "custom.rego": rego})
    assert decision.allow
    assert (decision.obligations.max_bytes, decision.obligations.mask) == (100, ("/email",))
    weekend = await decide(tmp_path, {}, time={"minute": 0, "hour": 0, "weekday": 6, "date": "2030-01-13"})
    assert [reason.code for reason in weekend.reasons] == ["weekend"]
    assert not weekend.allow


async def test_the_shipped_rules_are_evaluated_on_the_callers_thread_and_may_be_cached(tmp_path: Path) -> None:
    engine = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    engine.load(read_policy(tmp_path))
    engine.close()
    assert engine.facts is not None
    assert not engine.facts.detached
    assert ("input",) not in engine.facts.base
