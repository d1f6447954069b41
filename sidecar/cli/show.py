"""How a command shows its data on stdout: a table for people, JSON or YAML for programs.

``NO_COLOR`` and a pipe take the colours away; in a pipe a table is as wide as it needs to be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
import orjson

FORMATS: Final = ("table", "json", "yaml")
_PIPE_WIDTH: Final = 4096  # columns: no table is folded where nobody looks

_KEPT: Final = "\n\t"  # what steers a terminal no further than a line of text does

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
        click.echo(plain_json(orjson.dumps(value, option=orjson.OPT_INDENT_2)))
        return
    import yaml  # noqa: PLC0415  # 15 ms that a table or JSON need not pay

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print rows under their columns, as ``cell`` shows them. Text is never markup."""
    from rich.console import Console  # noqa: PLC0415  # 40 ms that JSON need not pay
    from rich.table import Table  # noqa: PLC0415  # the same
    from rich.text import Text  # noqa: PLC0415  # the same

    grid = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell(value)) for value in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(grid)


def cell(value: object) -> str:
    """A value as people read it: nothing for None, yes or no, JSON for what is nested, and ``printable`` text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return printable(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    return printable(str(value))


def plain_json(encoded: bytes) -> str:
    """JSON in which what steers a terminal is escaped, such as U+009B: the same document to whoever parses it."""
    text = encoded.decode()
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(each if each.isprintable() or each in _KEPT else json.dumps(each)[1:-1] for each in text)


def printable(text: str) -> str:
    """Text whose control characters are written out: what an agent, a bundle or another administrator sent may not
    steer the terminal of who reads it.
    """
    return "".join(each if each.isprintable() or each in _KEPT else ascii(each)[1:-1] for each in text)
