"""How a command shows its data on stdout: a table for people, JSON or YAML for programs.

``NO_COLOR`` and a pipe take the colours away; in a pipe a table is as wide as it needs to be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
import orjson

FORMATS: Final = ("table", "json", "yaml")
_PIPE_WIDTH: Final = 4096  # columns: no table is folded where nobody looks

Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """The option ``-o table|json|yaml``, as the parameter ``output``."""
    option = click.option(
        "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
    )
    return option(command)


def config_option(command: Command) -> Command:
    """The option ``-c sidecar.yaml``, as the parameter ``config`` (a path); also ``SIDECAR_CONFIG``."""
    option = click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False),
        default="sidecar.yaml",
        envvar="SIDECAR_CONFIG",
        show_default=True,
        show_envvar=True,
        help="The configuration file.",
    )
    return option(command)


def data(value: Any, output: str) -> None:
    """Print a document as JSON or YAML."""
    if output == "json":
        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
        return
    import yaml  # noqa: PLC0415  # 15 ms that a table or JSON need not pay

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print rows under their columns. Text is shown as it is, never as markup."""
    from rich.console import Console  # noqa: PLC0415  # 40 ms that JSON need not pay
    from rich.table import Table  # noqa: PLC0415  # the same
    from rich.text import Text  # noqa: PLC0415  # the same

    grid = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(grid)
