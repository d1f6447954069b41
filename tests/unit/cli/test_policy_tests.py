"""``sidecar policy test`` and ``coverage``: OPA's own words about Rego, a table about cases, an exit code of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.policy_tests import cases_of
from tests.unit.cli.builders import CASES, TESTS, policy_command


def test_a_good_policy(policy: Path) -> None:
    result = policy_command("test", policy)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "PASS: 2/2" in result.stdout


@pytest.mark.parametrize("verbose", [(), ("--verbose",), ("-o", "json")])
@pytest.mark.parametrize("tests", [None, "package sidecar.custom_test\n\nchecks_ours if true\n"])
def test_a_run_of_no_tests_is_no_pass(policy: Path, tests: str | None, verbose: tuple[str, ...]) -> None:
    (policy / "custom_test.rego").unlink()
    if tests is not None:
        (policy / "custom_test.rego").write_text(tests)
    result = policy_command("test", policy, *verbose)
    assert result.exit_code == 1
    assert result.stdout == "" or json.loads(result.stdout)["rego"] == []
    assert result.stderr.startswith(f"sidecar: no tests in {policy}: ")


def test_cases_under_a_name_that_is_not_read_are_told_and_not_taken_for_passed(policy: Path) -> None:
    (policy / "orders.cases.yml").write_text("cases: [{name: wrong, expect: allow}]")
    result = policy_command("test", policy)
    assert result.exit_code == 0
    assert f"sidecar: warning: {policy}/orders.cases.yml is not read: " in result.stderr


def test_only_our_tests_run_beside_the_shipped_rules(policy: Path) -> None:
    """What a tenant allows makes tests of the shipped rules fail, and they are not the tenant's."""
    (policy / "shipped_test.rego").write_text(
        "package shipped_test\n\nimport data.sidecar.authz\n\n"
        "test_denies if authz.decision.allow == false with input as {}\n"
    )
    result = policy_command("test", policy, "--verbose")
    assert result.exit_code == 0
    named = result.stdout
    assert "data.sidecar.custom_test.test_ours: PASS" in named
    assert "data.shipped_test.test_denies: PASS" in named
    assert "data.sidecar.authz" not in named


def test_a_test_that_fails_is_no_wrong_command_line(policy: Path) -> None:
    (policy / "custom_test.rego").write_text(TESTS.format("acme"))
    result = policy_command("test", policy)
    assert result.exit_code == 1
    assert "test_theirs: FAIL" in result.stdout


def test_tests_see_the_data_that_a_sidecar_would(policy: Path) -> None:
    """YAML 1.2, at its folder's path: OPA by itself would read a boolean."""
    (policy / "mine").mkdir()
    (policy / "mine" / "data.yaml").write_text("answer: no\n")
    (policy / "data_test.rego").write_text('package data_test\n\ntest_text if data.mine.answer == "no"\n')
    assert policy_command("test", policy).exit_code == 0


def test_cases_alone_are_tests(policy: Path) -> None:
    (policy / "custom_test.rego").unlink()
    (policy / "cases.yaml").write_text(CASES.format("no_grant"))
    (policy / "deeper").mkdir()
    (policy / "deeper" / "more.cases.yaml").write_text(CASES.format("no_grant"))
    result = policy_command("test", policy)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "CASES PASS: 4/4\n", "")
    assert len(cases_of(policy)) == 4


def test_a_case_that_fails_says_what_was_expected_and_what_came(policy: Path) -> None:
    (policy / "cases.yaml").write_text(CASES.format("embargo") + "  - {name: open, expect: deny}\n")
    result = policy_command("test", policy, "--verbose")
    assert result.exit_code == 1
    assert "PASS: 2/2" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if "│" in line]
    assert [[cell for cell in row if cell != "│"] for row in rows] == [
        [f"{policy}/cases.yaml:3", "theirs", "reasons", '["embargo"]', '["no_grant"]'],
        [f"{policy}/cases.yaml:4", "open", "allow", "false", "true"],
    ]
    assert f"{policy}/cases.yaml:2: ours: PASS" in result.stdout
    assert "CASES PASS: 1/3\nCASES FAIL: 2/3\n" in result.stdout


def test_a_case_with_a_misspelt_field_is_refused(policy: Path) -> None:
    (policy / "cases.yaml").write_text("cases:\n  - {name: a, expect: deny, input: {tennant: x}}\n")
    result = policy_command("test", policy)
    assert result.exit_code == 1
    assert "cases.yaml:2" in result.stderr
    assert "did you mean 'tenant'?" in result.stderr


def test_for_programs(policy: Path) -> None:
    (policy / "cases.yaml").write_text(CASES.format("embargo"))
    document = json.loads(policy_command("test", policy, "-o", "json").stdout)
    assert document["ok"] is False
    assert [test["name"] for test in document["rego"]] == ["test_ours", "test_theirs"]
    assert [case["ok"] for case in document["cases"]] == [True, False]
    assert document["cases"][1]["differences"] == [{"field": "reasons", "expected": ["embargo"], "got": ["no_grant"]}]


def test_coverage_counts_what_tests_and_cases_reach(policy: Path) -> None:
    (policy / "custom.rego").write_text(
        'package sidecar.custom\n\nallow if input.tenant == "acme"\n\n'
        'deny contains {"code": "x", "message": "y"} if input.effect == "write"\n'
    )
    result = policy_command("coverage", policy, "--threshold", "90")
    assert result.exit_code == 1
    assert "50.0 % of the lines are covered, 90 % are asked for" in result.stderr
    [row] = [line for line in result.stdout.splitlines() if "custom.rego" in line]
    assert [cell.strip() for cell in row.split("│")][1:] == ["2", "50.0 %", "5"]
    (policy / "cases.yaml").write_text("cases: [{name: a, expect: deny, input: {effect: write}}]")
    reached = json.loads(policy_command("coverage", policy, "--threshold", "100", "-o", "json").stdout)
    assert reached["percent"] == 100
    assert [file["missed"] for file in reached["files"]] == [[]]
    (policy / "custom_test.rego").write_text(TESTS.format("acme"))
    failed = policy_command("coverage", policy)
    assert (failed.exit_code, "test_theirs: FAIL" in failed.stderr) == (1, True)


def test_a_policy_of_data_alone_has_no_lines_to_cover(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("a: 1\n")
    (tmp_path / "cases.yaml").write_text("cases: [{name: a, expect: deny}]")
    assert json.loads(policy_command("coverage", tmp_path, "-o", "json").stdout) == {"percent": 100, "files": []}
