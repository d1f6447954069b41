"""``sidecar policy``: its commands are found without importing them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from sidecar.cli.policy import COMMANDS, policy
from tests.unit.cli.builders import policy_command


def test_help_names_every_command_and_imports_none() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom sidecar.cli.policy import policy\n"
        "print(CliRunner().invoke(policy, ['--help']).output)\n"
        "assert not [name for name in sys.modules if name.startswith('sidecar.cli.policy_')]\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in ran.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_with_examples(name: str) -> None:
    assert isinstance(policy, click.Group)
    command = policy.get_command(click.Context(policy), name)
    assert command is not None
    assert command.name == name
    assert f"sidecar policy {name}" in (command.help or "")


@pytest.mark.parametrize("arguments", [("check", "nothing"), ("test", "nothing"), ("prove",)])
def test_a_wrong_command_line(arguments: tuple[str, ...]) -> None:
    assert policy_command(*arguments).exit_code == 2


def test_the_folder_is_policy_unless_named(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (policy / "policy").mkdir()
    (policy / "custom.rego").rename(policy / "policy" / "custom.rego")
    monkeypatch.chdir(policy)
    assert policy_command("check").exit_code == 0
    (policy / "policy" / "custom.rego").write_text("no rego")
    assert policy_command("check").exit_code == 1
