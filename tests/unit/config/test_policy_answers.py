"""What a customer's rules answer has the members that a sidecar knows, or `check` says where not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.adapters.policy.library import opa_executable
from sidecar.config.policy_answers import answer_faults


def parsed(folder: Path, text: str, name: str = "a.rego") -> dict[str, Any]:
    (folder / name).write_text(text)
    command = [str(opa_executable()), "parse", "--format", "json", "--json-include", "locations,-comments", name]
    module: dict[str, Any] = orjson.loads(subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout)
    return module


def told(folder: Path, rules: str, package: str = "sidecar.custom") -> list[str]:
    faults = answer_faults([parsed(folder, f"package {package}\n\n{rules}\n")])
    return [f"{fault.where}: {fault.path}: {fault.message} [{fault.code}]" for fault in faults]


@pytest.mark.parametrize(
    "rules",
    [
        'allow if input.effect == "read"',
        "default allow := false",
        'deny contains {"code": "a", "message": "b"} if input.plane == "x"',
        'deny contains {"code": input.tenant, "message": sprintf("%v", [1])}',
        'deny contains reason if {\n\treason := {"code": "a", "message": "b"}\n}',
        "deny contains reason if some reason in data.reasons",
        'deny if input.plane == "x"',
        'deny := {{"code": "a", "message": "b"}}',
        'obligations := {"mask": ["/a"], "max_bytes": 10, "record_bodies": true, "timeout_ms": null}',
        'obligations := {"mask": masks}\n\nmasks := ["/a"]',
        "obligations := object.union(data.a, data.b)",
        "obligations.max_bytes := 10",
        'obligations := {"max_bytes": 1} if input.effect == "read" else := {}',
        'obligations[name] := 1 if some name in ["max_bytes"]',
        'allow if allowed\n\nallowed if input.effect == "read"',
        "mine := 1",
    ],
)
def test_what_a_sidecar_understands(tmp_path: Path, rules: str) -> None:
    assert told(tmp_path, rules) == []


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ('deny contains {"code": "a", "mesage": "b"}', "deny.mesage: there is no such key; did you mean 'message'?"),
        ('deny contains {"code": "a"}', "deny: the key 'message' is missing"),
        ('deny contains {"code": 1, "message": "b"}', "deny.code: Expected `str`, got `int`"),
        ('deny contains r if { r := {"cod": "a", "message": "b"} }', "deny.cod: "),
        ('deny contains "no"', "deny: must be an object"),
        ('deny := "no"', "deny: must be a set"),
        ('obligations := {"max_byte": 1}', "obligations.max_byte: there is no such key; did you mean 'max_bytes'?"),
        ('obligations := {"max_bytes": "1"}', "obligations.max_bytes: Expected `int | null`, got `str`"),
        ('obligations := {"max_bytes": 0}', "obligations.max_bytes: Expected `int` >= 1"),
        ('obligations := {"mask": [1]}', "obligations.mask: must be a list of JSON Pointers"),
        ('obligations := {"mask": ["email"]}', "obligations.mask: must be a list of JSON Pointers"),
        ("obligations := true", "obligations: must be an object"),
        ("obligations.max_byte := 1", "obligations.max_byte: there is no such key"),
        ('obligations := {} if input.plane == "x" else := {"masks": []}', "obligations.masks: "),
        ('allow := "yes"', "allow: must be true or false"),
        ('denny contains {"code": "a", "message": "b"}', "denny: nothing asks for a rule of this name; did you mean"),
        ('allowed if input.effect == "read"', "allowed: nothing asks for a rule of this name"),
        ('obligation := {"max_bytes": 1}', "did you mean 'obligations'?"),
    ],
)
def test_what_no_sidecar_understands_is_told_with_its_line(tmp_path: Path, rules: str, says: str) -> None:
    messages = told(tmp_path, rules)
    assert len(messages) == 1
    assert messages[0].startswith("a.rego:3: ")
    assert says in messages[0]


def test_a_name_that_another_module_refers_to_is_not_misspelt(tmp_path: Path) -> None:
    helper = parsed(tmp_path, "package sidecar.custom\n\nallowed if true\n")
    user = parsed(tmp_path, "package other\n\nx if data.sidecar.custom.allowed\n", "b.rego")
    assert answer_faults([helper, user]) == ()
    assert len(answer_faults([helper])) == 1


def test_a_decision_of_the_customers_own_is_checked_too(tmp_path: Path) -> None:
    rule = 'decision := {"allow": true, "reason": [], "obligations": {}}'
    messages = told(tmp_path, rule, "sidecar.authz")
    assert ["decision.reason: there is no such key; did you mean 'reasons'?" in message for message in messages] == [
        True
    ]
    assert told(tmp_path, rule, "elsewhere") == []


def test_faults_are_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    text = 'package sidecar.custom\n\nallow := 1\n\nobligations := {"a": 1}\n'
    modules = [parsed(tmp_path, text, name) for name in ("b.rego", "a.rego")]
    assert [fault.where for fault in answer_faults(modules)] == ["a.rego:3", "a.rego:5", "b.rego:3", "b.rego:5"]
