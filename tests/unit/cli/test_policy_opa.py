"""Running the built OPA: exit codes, JSON answers, and the folders it is given."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from sidecar.cli.policy_opa import asked, input_schema, opa, shipped_rules
from sidecar.config.schemas import schema


def test_a_failure_of_opa_is_exit_code_one(tmp_path: Path) -> None:
    (tmp_path / "a_test.rego").write_text("package a_test\n\ntest_no if false\n")
    with pytest.raises(click.exceptions.Exit) as ended:
        opa("test", str(tmp_path))
    assert ended.value.exit_code == 1


def test_whether_anything_was_said_is_told(tmp_path: Path) -> None:
    assert opa("version")
    assert not opa("fmt", "--list", str(tmp_path))


def test_an_answer_in_json(tmp_path: Path) -> None:
    code, answer = asked("eval", "--format", "json", "1 + 1")
    assert (code, answer["result"][0]["expressions"][0]["value"]) == (0, 2)
    assert asked("eval", "--format", "raw", "1 +")[0] == 2
    assert asked("version")[1] is None


def test_shipped_rules_come_without_their_tests() -> None:
    with shipped_rules() as folder:
        names = [path.name for path in folder.rglob("*.rego")]
        assert "decision.rego" in names
        assert not [name for name in names if name.endswith("_test.rego")]
    assert not folder.exists()


def test_the_schema_of_the_input_is_one_file() -> None:
    with input_schema() as file:
        assert json.loads(file.read_bytes()) == schema("decision-input")
