"""``sidecar policy``: the commands of who writes policy, each imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Final

import click

from sidecar.cli.groups import Group

# name: (module of this package, what `sidecar policy --help` says)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "new": ("policy_new", "Write a policy to begin with."),
    "check": ("policy_check", "Compile a policy; a field that does not exist is an error."),
    "fmt": ("policy_style", "Format a policy's Rego."),
    "lint": ("policy_style", "Lint a policy's Rego with regal."),
    "test": ("policy_tests", "Run a policy's Rego tests and decision cases."),
    "coverage": ("policy_tests", "Say which lines of a policy its tests reach."),
    "eval": ("policy_eval", "Decide one call, and say why."),
    "bench": ("policy_bench", "Time a policy's decisions."),
    "new-key": ("policy_build", "Make a key pair that signs bundles."),
    "build": ("policy_build", "Make a bundle of a policy, signed or not."),
    "push": ("policy_remote", "Put a policy into an OPA server."),
    "status": ("policy_remote", "Show what an OPA server holds."),
    "activate": ("policy_activation", "Activate a bundle of a running sidecar now."),
    "rollback": ("policy_activation", "Go back to a bundle that is kept."),
    "history": ("policy_activation", "What was activated or refused, when, by whom and why."),
    "opa": ("policy_build", "Run OPA itself, the version that decides."),
}


class Commands(Group):
    """A group whose commands are functions of modules beside this one."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every command, in the order a policy's author meets them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__package__}.{COMMANDS[cmd_name][0]}")
        return next(
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        )

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
