"""``sidecar policy bench``: a row a call, in numbers that programs read too."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.builders import CASES, policy_command


def test_each_case_is_timed(policy: Path) -> None:
    (policy / "cases.yaml").write_text(CASES.format("no_grant"))
    result = policy_command("bench", policy, "--count", 20, "-o", "json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["count"], document["detached"]) == (0, 20, False)
    assert [(row["call"], row["decision"]) for row in document["decisions"]] == [
        ("ours", "allow"),
        ("theirs", "deny"),
    ]
    for row in document["decisions"]:
        assert 0 < row["p50_ns"] <= row["p99_ns"]
        assert row["mean_ns"] > 0


def test_one_input_is_timed_alone(policy: Path) -> None:
    (policy / "cases.yaml").write_text(CASES.format("no_grant"))
    shown = policy_command("bench", policy, "--count", 20, "-i", "-", given="tenant: globex").stdout
    assert [row.split("│")[1].strip() for row in shown.splitlines() if "│" in row] == ["deny"]


def test_without_cases_a_plain_call_is_timed(policy: Path) -> None:
    shown = policy_command("bench", policy, "--count", 20).stdout
    assert "a plain call" in shown
    assert "p99 us" in shown


def test_a_policy_that_cannot_be_interrupted_is_told(policy: Path) -> None:
    (policy / "custom.rego").write_text('package sidecar.custom\n\nallow if regex.match("a", input.tenant)\n')
    assert "cannot be interrupted" in policy_command("bench", policy, "--count", 20).stderr


def test_a_policy_that_fails_is_not_timed(policy: Path) -> None:
    (policy / "custom.rego").write_text("package sidecar.custom\n\nobligations := count(input.tenant)\n")
    (policy / "data.yaml").write_text("sidecar: {grants: {acme: {principals: {agent: [connector/*]}}}}")
    result = policy_command("bench", policy, "--count", 20)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no decision" in result.stderr
