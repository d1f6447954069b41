"""``sidecar policy new``: what is written passes everything at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.builders import policy_command

NAMES = ["cases.yaml", "custom.rego", "custom_test.rego", "data.yaml"]


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("--tenant", "blue", "--agent", "reports", "--connector", "crm"),
        ("--agent", 'a: "b" #', "--tenant", "1.0"),
    ],
)
def test_a_new_policy_passes_check_format_test_and_coverage(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = tmp_path / "deeper" / "policy"
    made = policy_command("new", folder, *names)
    assert (made.exit_code, made.stdout) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for command in (("check",), ("fmt", "--check"), ("test",), ("coverage", "--threshold", "100")):
        result = policy_command(command[0], folder, *command[1:])
        assert result.exit_code == 0, result.output


@pytest.mark.needs_regal
def test_a_new_policy_passes_the_linter(tmp_path: Path) -> None:
    policy_command("new", tmp_path / "policy")
    assert policy_command("lint", tmp_path / "policy").exit_code == 0


def test_its_grants_are_those_of_the_names_that_are_given(tmp_path: Path) -> None:
    policy_command("new", tmp_path, "--tenant", "blue", "--agent", "reports", "--connector", "crm")
    call = "{tenant: blue, principal: {id: reports}, connector: {id: crm}}"
    shown = json.loads(policy_command("eval", tmp_path, "-i", "-", "-o", "json", given=call).stdout)
    assert shown["decision"]["allow"] is True


def test_the_next_step_can_be_typed_in_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "our policy & tests"
    missing = policy_command("check", folder)
    assert f"`sidecar policy new '{folder}'` writes one" in missing.stderr
    assert (
        f"next: sidecar policy check '{folder}' && sidecar policy test '{folder}'"
        in policy_command("new", folder).stderr
    )


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("mine: 1\n")
    result = policy_command("new", tmp_path)
    assert result.exit_code == 1
    assert "already has data.yaml" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.yaml"]
