"""Groups of commands: help says whole sentences, and a wrong name is answered with the nearest one."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from sidecar.cli import COMMANDS, main
from sidecar.cli.groups import Group

GROUPS = [name for name in COMMANDS if isinstance(main.get_command(click.Context(main), name), click.Group)]


@pytest.mark.parametrize("name", GROUPS)
def test_the_help_of_every_group_says_whole_sentences(name: str) -> None:
    assert isinstance(main.get_command(click.Context(main), name), Group)
    shown = CliRunner().invoke(main, [name, "--help"], terminal_width=80)
    _, _, commands = shown.output.partition("Commands:\n")
    assert commands and "..." not in commands


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chek"], "No such command 'chek'; did you mean 'check'?"),
        (["policy", "tets"], "No such command 'tets'; did you mean 'test'?"),
        (["keys", "mak"], "No such command 'mak'; did you mean 'make'?"),
        (["zzz"], "No such command 'zzz'.\n"),
    ],
)
def test_a_wrong_command_is_answered_with_the_nearest(words: list[str], told: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert f"Try 'main {' '.join(words[:-1])}".rstrip() in done.stderr
