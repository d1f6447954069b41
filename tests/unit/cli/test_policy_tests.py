"""``sidecar policy test``: OPA's own words, and an exit code of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.builders import TESTS, policy_command


def test_a_good_policy(policy: Path) -> None:
    result = policy_command("test", policy)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "PASS: 2/2" in result.stdout


@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
@pytest.mark.parametrize("tests", [None, "package sidecar.custom_test\n\nchecks_ours if true\n"])
def test_a_run_of_no_tests_is_no_pass(policy: Path, tests: str | None, verbose: tuple[str, ...]) -> None:
    (policy / "custom_test.rego").unlink()
    if tests is not None:
        (policy / "custom_test.rego").write_text(tests)
    result = policy_command("test", policy, *verbose)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"sidecar: no tests in {policy}: ")


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
