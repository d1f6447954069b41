"""What every group of commands does for who is new: whole sentences in its help, and the nearest name to a wrong one.

Imports nothing but click, so that help stays quick.
"""

from __future__ import annotations

import click

_WHOLE = 1000  # characters: a first sentence is never cut


class Group(click.Group):
    """A group of commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands with the whole first sentence of each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(_WHOLE)) for name, each in found if each is not None])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant. Raises ``click.UsageError`` with the nearest name where there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from sidecar.config.faults import nearest  # noqa: PLC0415  # only a wrong name pays for it

            ctx.fail(f"No such command {name!r}{nearest(name, self.list_commands(ctx)) or '.'}")
        return super().resolve_command(ctx, args)
