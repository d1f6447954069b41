"""``sidecar policy fmt`` and ``lint``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.policy_style import REGAL, regal
from sidecar.errors import Misconfigured
from tests.fixtures.programs import PROGRAMS, program
from tests.unit.cli.builders import GOOD, policy_command

UGLY = 'package sidecar.custom\nallow if { input.tenant=="acme" }\n'


def test_a_formatted_policy_stays(policy: Path) -> None:
    for option in ((), ("--check",), ("--diff",)):
        result = policy_command("fmt", policy, *option)
        assert (result.exit_code, result.stdout) == (0, "")


def test_what_is_not_formatted_is_named_shown_and_changed(policy: Path) -> None:
    file = policy / "custom.rego"
    file.write_text(UGLY)
    named = policy_command("fmt", policy, "--check")
    assert (named.exit_code, named.stdout) == (1, f"{file}\n")
    shown = policy_command("fmt", policy, "--diff")
    assert shown.exit_code == 1
    assert "allow if" in shown.stdout
    assert file.read_text() == UGLY
    changed = policy_command("fmt", policy)
    assert (changed.exit_code, changed.stdout) == (0, f"{file}\n")
    assert file.read_text() == GOOD


@pytest.mark.needs_regal
def test_a_policy_is_linted_with_settings_that_fit_it(policy: Path) -> None:
    result = policy_command("lint", policy)
    assert (result.exit_code, "No violations" in result.stdout) == (0, True)
    (policy / "custom.rego").write_text(GOOD + "\nCamelCase := 1\n")
    result = policy_command("lint", policy, "-o", "json")
    assert result.exit_code == 1
    assert [found["title"] for found in json.loads(result.stdout)["violations"]] == ["prefer-snake-case"]


@pytest.mark.needs_regal
def test_the_folders_own_settings_count(policy: Path) -> None:
    (policy / "custom.rego").write_text(GOOD + "\nCamelCase := 1\n")
    (policy / ".regal").mkdir()
    quiet = {
        "style": {"prefer-snake-case": {"level": "ignore"}},
        "idiomatic": {
            "directory-package-mismatch": {"level": "ignore"},
            "no-defined-entrypoint": {"level": "ignore"},
        },
    }
    (policy / ".regal" / "config.yaml").write_text(json.dumps({"rules": quiet}))
    assert policy_command("lint", policy).exit_code == 0


def test_the_linter_is_the_one_that_is_built_for_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert PROGRAMS["regal"] == REGAL
    with pytest.raises(Misconfigured, match=f"go install .*@v{REGAL}` brings it"):
        regal()
    built = program("regal")
    built.parent.mkdir(parents=True)
    built.touch(mode=0o755)
    assert regal() == built
    (tmp_path / "regal").touch(mode=0o755)
    assert regal() == tmp_path / "regal"


def test_without_the_linter_the_command_says_how_it_comes(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(policy))
    monkeypatch.setenv("XDG_CACHE_HOME", str(policy))
    result = policy_command("lint", policy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "go install" in result.stderr
