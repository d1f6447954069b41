"""Running the built OPA: exit codes, JSON answers, and the folders it is given."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from sidecar.cli.policy_opa import asked, files_of, input_schema, opa, shipped_rules, staged
from sidecar.config.schemas import schema
from sidecar.errors import Misconfigured


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
    (tmp_path / "a.rego").write_text("package a\n\nb if {\n")
    code, answer = asked("check", "--format", "json", str(tmp_path))
    assert (code, answer["errors"][0]["code"]) == (1, "rego_parse_error")


def test_what_is_no_json_is_a_failure_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="opa nonsense failed: "):
        asked("nonsense")
    assert asked("fmt", "--list", str(tmp_path)) == (0, None)


def test_shipped_rules_come_without_their_tests_and_settings() -> None:
    with shipped_rules() as folder:
        names = [path.name for path in folder.rglob("*")]
        assert "decision.rego" in names
        assert not [name for name in names if name.endswith("_test.rego") or name.startswith(".")]
    assert not folder.exists()


def test_what_is_staged_is_what_a_sidecar_loads(policy: Path) -> None:
    (policy / "more").mkdir()
    (policy / "more" / "data.yaml").write_text("answer: no\n")
    (policy / "cases.yaml").write_text("cases: []\n")
    (policy / ".hidden.rego").write_text("no rego")
    with staged(policy) as paths:
        assert paths[0] == str(policy / "custom.rego")
        assert json.loads(Path(paths[1]).read_bytes()) == {"more": {"answer": "no"}}
        assert len(paths) == 3
    with staged(policy, tests=True) as paths:
        assert paths[:2] == [str(policy / "custom.rego"), str(policy / "custom_test.rego")]


def test_files_behind_a_dot_are_not_part_of_a_policy(tmp_path: Path) -> None:
    for name in ("b.rego", "a.rego", ".c.rego", ".git/d.rego", "e/f.rego", "e/g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path, "*.rego")] == [
        "a.rego",
        "b.rego",
        "e/f.rego",
    ]


def test_the_schema_of_the_input_is_one_file() -> None:
    with input_schema() as file:
        assert json.loads(file.read_bytes()) == schema("decision-input")
