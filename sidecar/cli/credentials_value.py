"""How a value comes to ``sidecar credentials``: from stdin or from a prompt that does not show it.

It never comes as an argument, where the shell's history and every user's process list would keep it: what could be
one is refused unseen.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import click

from sidecar.errors import Misconfigured
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import MANY_LINES, VALUE_LIMIT

_EASILY_FOUND: Final = 8  # bytes; shorter values also mask ordinary text by chance
_LINE_END: Final = re.compile(rb"\r?\n\Z")

no_more = click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="")
# What looks like an option must end among `more` and be refused unseen: it may be a value.
UNSEEN: Final = {"ignore_unknown_options": True}


class WithoutValue(click.Command):
    """A command that refuses whatever could be a value, before any of it is taken for a cluster of short options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The rest of the arguments; a single dash with more than ``-c FILE`` behind it ends here."""
        if any(len(argument) > 2 and argument[0] == "-" and argument[1] not in "-c" for argument in args):
            refuse(("",))
        return super().parse_args(ctx, args)


def refuse(more: tuple[str, ...]) -> None:
    """Raises ``UsageError`` where there is more on the command line than belongs there."""
    if more:
        raise click.UsageError(
            "a value is never given as an argument, where the shell's history and the process list keep it: pipe it "
            "to stdin, or run the command alone and be asked. If what you gave was a secret, replace it now"
        )


def value(kind: str | None) -> Secret:
    """The value of a credential of this kind. Raises ``Misconfigured`` where none comes."""
    if _is_typed():
        typed = str(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
        plain = typed.encode("utf-8", "surrogateescape")  # the bytes of a terminal that writes no UTF-8
    else:
        plain = sys.stdin.buffer.read(VALUE_LIMIT + 2)
        plain = plain if kind in MANY_LINES else _LINE_END.sub(b"", plain)
    if not plain:
        raise Misconfigured("no value came on stdin")
    if len(plain) < _EASILY_FOUND:
        click.echo(
            f"warning: a value of fewer than {_EASILY_FOUND} bytes is easy to guess, and the same characters in an "
            "upstream's answer are masked wherever they stand",
            err=True,
        )
    return Secret(plain)


def _is_typed() -> bool:
    return sys.stdin.isatty()
