"""``sidecar policy``: OPA's own words, and an exit code of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main

GOOD = 'package sidecar.custom\n\nallow if input.tenant == "acme"\n'
TESTS = """package sidecar.custom_test

import data.sidecar.custom

test_ours if custom.allow with input.tenant as "acme"
test_theirs if not custom.allow with input.tenant as "{}"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "custom.rego").write_text(GOOD)
    (tmp_path / "custom_test.rego").write_text(TESTS.format("globex"))
    return tmp_path


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


def run(*arguments: object) -> int:
    return invoked(*arguments).exit_code


def test_a_good_policy(policy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("check", policy) == 0
    assert capfd.readouterr() == ("", "")
    result = invoked("test", policy)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "PASS: 2/2" in result.stdout


@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
@pytest.mark.parametrize("tests", [None, "package sidecar.custom_test\n\nchecks_ours if true\n"])
def test_a_run_of_no_tests_is_no_pass(policy: Path, tests: str | None, verbose: tuple[str, ...]) -> None:
    (policy / "custom_test.rego").unlink()
    if tests is not None:
        (policy / "custom_test.rego").write_text(tests)
    result = invoked("test", policy, *verbose)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"sidecar: no tests in {policy}: ")


def test_only_our_tests_run_beside_the_shipped_rules(policy: Path) -> None:
    """What a tenant allows makes tests of the shipped rules fail, and they are not the tenant's."""
    (policy / "shipped_test.rego").write_text(
        "package shipped_test\n\nimport data.sidecar.authz\n\n"
        "test_denies if authz.decision.allow == false with input as {}\n"
    )
    result = invoked("test", policy, "--verbose")
    assert result.exit_code == 0
    named = result.stdout
    assert "data.sidecar.custom_test.test_ours: PASS" in named
    assert "data.shipped_test.test_denies: PASS" in named
    assert "data.sidecar.authz" not in named


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package sidecar.custom\n\nallow if {", "rego_parse_error"),
        ('package sidecar.custom\n\nallow if input.tennant == "acme"', "input.tennant"),
        ("package sidecar.custom\n\nallow if input.principal.roll == 1", "input.principal.roll"),
        ('package sidecar.custom\n\nallow if http.send({"method": "GET", "url": "http://x"})', "http.send"),
        ("package sidecar.custom\n\nallow if { unused := 1 }", "unused"),
    ],
    ids=["syntax", "misspelt", "misspelt deeper", "a way out", "strict"],
)
def test_a_policy_that_does_not_compile(
    policy: Path, text: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (policy / "custom.rego").write_text(text)
    result = CliRunner().invoke(main, ["policy", "check", str(policy)])
    assert result.exit_code == 1
    opa = capfd.readouterr()  # OPA writes to the descriptor itself
    shown = result.output + opa.out + opa.err
    assert says in shown
    assert "custom.rego:3" in shown


def test_data_that_a_sidecar_would_not_load(policy: Path) -> None:
    (policy / "data.json").write_text('{"sidecar": {"grants": {}, "grants": {}}}')
    result = CliRunner().invoke(main, ["policy", "check", str(policy)])
    assert result.exit_code == 1
    assert "data.json" in result.stderr


def test_a_test_that_fails_is_no_wrong_command_line(policy: Path) -> None:
    (policy / "custom_test.rego").write_text(TESTS.format("acme"))
    result = invoked("test", policy)
    assert result.exit_code == 1
    assert "test_theirs: FAIL" in result.stdout


@pytest.mark.parametrize("arguments", [("check", "nothing"), ("test", "nothing"), ("prove",)])
def test_a_wrong_command_line(arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == 2


def test_the_folder_is_policy_unless_named(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (policy / "policy").mkdir()
    (policy / "custom.rego").rename(policy / "policy" / "custom.rego")
    monkeypatch.chdir(policy)
    assert run("check") == 0
    (policy / "policy" / "custom.rego").write_text("no rego")
    assert run("check") == 1
