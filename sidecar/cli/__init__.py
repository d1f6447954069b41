"""The front desk: one command a module, each imported only when it is asked for.

Data goes to stdout, messages to stderr. Exit codes: 0 done; 1 the thing asked for failed or was refused (a wrong
configuration, an unverifiable log); 2 the command line itself is wrong.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any, Final

import click

from sidecar import __version__
from sidecar.cli.groups import Group
from sidecar.errors import SidecarError

FAILED: Final = 1
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# What `sidecar --help` says: kept here so that help imports no command.
COMMANDS: Final = {
    "init": "Write a smallest start that works into a folder.",
    "run": "Serve: open the doors and govern calls.",
    "demo": "Show a governed call end to end, with a real upstream.",
    "check": "Check a configuration; every error at once.",
    "keys": "Make, list, rotate and revoke API keys of principals.",
    "evidence": "Read and verify the evidence log.",
    "credentials": "Manage credentials: the sealed store, a Vault, AWS.",
    "connectors": "List, show, test and register connectors of a running sidecar.",
    "sources": "List and register data sources.",
    "planes": "List and register knowledge planes.",
    "principals": "List and register principals, grant and revoke roles.",
    "tenant": "Show, suspend and activate the tenant.",
    "kill": "Stop the tenant, a key, a principal or a connector at once.",
    "switches": "List and clear kill switches.",
    "migrate": "Make or upgrade the tables of a shared registry.",
    "policy": "Write, test, sign, activate and roll back policies.",
    "schemas": "Print or write the JSON Schemas and the configuration reference.",
}


class Front(Group):
    """A group whose commands are modules of this package, and whose failures are told apart by exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every command, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{__name__}.{cmd_name}"
        try:
            command = getattr(importlib.import_module(module), cmd_name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise click.UsageError(f"the command '{cmd_name}' is not in this installation") from None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a failure of ours becomes a message on stderr and exit code 1, never a traceback."""
        try:
            return super().invoke(ctx)
        except SidecarError as error:
            from sidecar.cli.show import printable  # noqa: PLC0415  # help need not pay for it

            codes = [f" [{reason.code}]" for reason in error.reasons if reason.message == error.detail]
            click.echo(printable(f"sidecar: {error.detail}{''.join(codes)}"), err=True)
            for reason in error.reasons:
                if reason.message != error.detail:  # said once is enough
                    click.echo(printable(f"  {reason.message} [{reason.code}]"), err=True)
            ctx.exit(FAILED)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; where a file cannot be used or the output not be written, say so, and exit with 1."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno in _FULL:
                # What is still to be written goes nowhere: flushing it at the exit would fail once more.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                told = f"{error.filename or 'the output'} cannot be written: {error.strerror}"
            elif error.filename is not None:
                told = f"{error.filename}: {error.strerror}"
            else:
                raise
            click.echo(f"sidecar: {told}", err=True)
            sys.exit(FAILED)


@click.group(
    cls=Front,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.",
)
@click.version_option(__version__, prog_name="sidecar")
def main() -> None:
    """A policy-as-code sidecar proxy for LLM agents.

    \b
    Examples:
      sidecar init
      sidecar check -c sidecar.yaml
      sidecar run -c sidecar.yaml
    """
