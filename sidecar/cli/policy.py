"""``sidecar policy``: the commands of who writes policy, each imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Final

import click

# name: (module of this package, what `sidecar policy --help` says)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "check": ("policy_check", "Compile a policy; a field that does not exist is an error."),
    "test": ("policy_tests", "Run a policy's Rego tests and decision cases."),
}


class Commands(click.Group):
    """A group whose commands are functions of modules beside this one."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every command, in the order a policy's author meets them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"{__package__}.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in COMMANDS.items()])


@click.group(
    cls=Commands,
    epilog="Exit codes: 0 good, 1 it does not compile, a test fails or there is none, 2 wrong command line.",
)
def policy() -> None:
    """Write, check, test and measure policies.

    \b
    Examples:
      sidecar policy check policy
      sidecar policy test policy
    """
