"""``sidecar policy check``: what a sidecar would refuse or misunderstand is told with its file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.builders import policy_command


def test_a_good_policy(policy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = policy_command("check", policy)
    assert (result.exit_code, result.output) == (0, "")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package sidecar.custom\n\nallow if {", "rego_parse_error"),
        ('package sidecar.custom\n\nallow if input.tennant == "acme"', "input.tennant"),
        ("package sidecar.custom\n\nallow if input.principal.roll == 1", "input.principal.roll"),
        ('package sidecar.custom\n\nallow if http.send({"method": "GET", "url": "http://x"})', "http.send"),
        ("package sidecar.custom\n\nallow if { unused := 1 }", "unused"),
        ('package sidecar.custom\n\nobligations := {"max_byte": 1}', "did you mean 'max_bytes'?"),
        ('package sidecar.custom\n\ndeny contains {"code": "x", "mesage": "y"}', "did you mean 'message'?"),
        ("package sidecar.custom\n\nalow if true", "did you mean 'allow'?"),
    ],
    ids=["syntax", "misspelt", "deeper", "a way out", "strict", "obligation", "reason", "rule"],
)
def test_a_policy_that_is_wrong(policy: Path, text: str, says: str) -> None:
    (policy / "custom.rego").write_text(text)
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert says in result.stdout
    assert f"{policy}/custom.rego:3" in result.stdout


def test_an_annotation_with_a_schema_of_its_own_hides_no_misspelt_field(policy: Path) -> None:
    annotated = "# METADATA\n# schemas:\n#   - input: {type: object}\n"
    (policy / "custom.rego").write_text(f"package sidecar.custom\n\n{annotated}allow if input.tennant\n")
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert f"{policy}/custom.rego:6" in result.stdout


def test_rules_that_are_too_deep_to_be_read_are_good_where_they_compile(policy: Path) -> None:
    (policy / "custom.rego").write_text("package sidecar.custom\n\nx := " + "[" * 600 + "]" * 600 + "\n")
    assert policy_command("check", policy).exit_code == 0


def test_checking_a_policy_goes_to_no_address_that_it_names(policy: Path) -> None:
    annotated = '# METADATA\n# schemas:\n#   - input: {$ref: "http://127.0.0.1:9/schema"}\n'
    (policy / "custom.rego").write_text(f"package sidecar.custom\n\n{annotated}allow if input.tenant\n")
    result = policy_command("check", policy, "-o", "json")
    assert result.exit_code == 1
    assert "remote reference loading disabled" in result.stdout


def test_a_misspelt_field_of_a_test_is_told_too(policy: Path) -> None:
    (policy / "more_test.rego").write_text("package more_test\n\ntest_a if input.tennant\n")
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert "more_test.rego:3" in result.stdout


def test_a_misspelt_limit_of_a_grant(policy: Path) -> None:
    (policy / "sidecar" / "grants").mkdir(parents=True)
    file = policy / "sidecar" / "grants" / "data.yaml"
    file.write_text("acme:\n  principals:\n    a: [{connector: a, operations: '*', hour: ['09:00', '10:00']}]\n")
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert f"{file}:3" in result.stdout
    assert "did you mean 'hours'?" in result.stdout


def test_data_that_a_sidecar_would_not_load(policy: Path) -> None:
    (policy / "data.json").write_text('{"sidecar": {"grants": {}, "grants": {}}}')
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert "data.json" in result.stdout


@pytest.mark.parametrize(
    "text", ['{"x": "\\ud800"}', '{"\\ud800": 1}', '{"x": 1e999}', "[" * 100_000 + "]" * 100_000]
)
def test_json_that_is_none_to_the_engine_is_told_with_its_file(policy: Path, text: str) -> None:
    (policy / "data.json").write_text(text)
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert "data.json" in result.stdout


def test_integers_beyond_64_bits_are_data_like_any(policy: Path) -> None:
    (policy / "data.json").write_text('{"x": 123456789012345678901234567890}')
    assert policy_command("check", policy).exit_code == 0


def test_every_error_is_told_at_once_and_to_programs_as_json(policy: Path) -> None:
    (policy / "custom.rego").write_text(
        'package sidecar.custom\n\ndeny contains "no"\n\nobligations := {"max_byte": input.tennant}\n'
    )
    (policy / "data.yaml").write_text("sidecar: {grant: {}}")
    result = policy_command("check", policy, "-o", "json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"]) == (1, False)
    found = {(Path(error["source"]).name, error["line"], error["code"]) for error in document["errors"]}
    assert found == {
        ("data.yaml", 1, "unknown_key"),
        ("custom.rego", 5, "rego_type_error"),
        ("custom.rego", 3, "wrong_type"),
        ("custom.rego", 5, "unknown_key"),
    }


def test_a_good_policy_to_programs(policy: Path) -> None:
    assert json.loads(policy_command("check", policy, "-o", "json").stdout) == {
        "ok": True,
        "errors": [],
        "unread": [],
    }


def test_cases_and_other_yaml_are_no_data(policy: Path) -> None:
    (policy / "cases.yaml").write_text("input: {}\ncases: [{name: a, expect: deny}]\n")
    (policy / "more.cases.yaml").write_text("input: 1\n")
    assert policy_command("check", policy).exit_code == 0


@pytest.mark.parametrize("command", [("test",), ("coverage",), ("eval", "-i", "-"), ("bench",), ("build",)])
def test_every_command_refuses_a_misspelt_field_with_its_line(policy: Path, command: tuple[str, ...]) -> None:
    (policy / "custom.rego").write_text("package sidecar.custom\n\nallow if input.tennant\n")
    result = policy_command(command[0], policy, *command[1:], given="{}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{policy}/custom.rego:3: undefined ref: input.tennant" in result.stderr


def test_data_that_no_sidecar_reads_is_a_warning(policy: Path) -> None:
    (policy / "grants.yaml").write_text("sidecar: [")
    (policy / "cases.yaml").write_text("cases: []")
    result = policy_command("check", policy)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"sidecar: warning: {policy}/grants.yaml is not read: data is in files called data.yaml" in result.stderr
    assert "cases.yaml is not read" not in result.stderr
    told = json.loads(policy_command("check", policy, "-o", "json").stdout)
    assert told == {"ok": True, "errors": [], "unread": [f"{policy}/grants.yaml"]}


def test_who_has_no_policy_is_told_how_to_begin(tmp_path: Path) -> None:
    result = policy_command("check", tmp_path / "mine")
    assert result.exit_code == 2
    assert f"`sidecar policy new {tmp_path}/mine` writes one" in result.stderr
