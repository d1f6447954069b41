"""A run as tables for people, or as one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.compare import Measured
from benchmarks.rows import AIOHTTP, ENVOY, EVEN, PLAIN, Figure, Row, find, ratio

_PIPE_WIDTH = 160


def as_json(measured: Measured) -> str:
    """Rows, figures and problems."""
    figures = [{**figure._asdict(), "holds": figure.holds} for figure in measured.figures]
    rows = msgspec.to_builtins(measured.rows)
    return json.dumps({"rows": rows, "figures": figures, "problems": measured.problems}, indent=2)


def show(measured: Measured) -> None:
    """Print tables on stdout."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    console.print(_rows(measured.rows))
    console.print()
    console.print(_figures(measured.figures))
    console.print()
    if measured.problems:
        console.print(Text("The run does not count:", style="bold red"))
        for problem in measured.problems:
            console.print(Text(f"  {problem}"))
    else:
        console.print(Text("Every intent has its outcome, the evidence verifies, and the upstream agrees."))


def _rows(rows: Sequence[Row]) -> Table:
    grid = _grid("scenario", "subject", "conns", "rps", "p50 ms", "p99 ms", "CPU us", "RSS MB", "CPU x", "rps x")
    grid.caption = "x: to Envoy / to aiohttp, in the same scenario at as many connections"
    for row in rows:
        envoy = find(rows, row.scenario, ENVOY, row.connections)
        aiohttp = find(rows, row.scenario, AIOHTTP, row.connections)
        ratios = (
            f"{_number(ratio(row, envoy, field), 2)} / {_number(ratio(row, aiohttp, field), 2)}"
            if row.scenario in (PLAIN, EVEN)
            else ""
            for field in ("cpu_us_per_call", "rps")
        )
        grid.add_row(
            *(row.scenario, row.subject, str(row.connections or "")),
            *(_number(row.rps, 0), _number(row.p50_ms, 3), _number(row.p99_ms, 3)),
            *(_number(row.cpu_us_per_call, 1), _number(row.rss_mb, 1)),
            *ratios,
        )
    return grid


def _figures(figures: Sequence[Figure]) -> Table:
    grid = _grid("figure", "bound", "measured", "holds")
    grid.add_column("")
    for figure in figures:
        measured = f"{figure.measured:.2f} {figure.unit}" if figure.measured is not None else "not measured"
        word = {True: Text("yes", style="green"), False: Text("NO", style="bold red"), None: Text("-")}[figure.holds]
        grid.add_row(figure.name, f"<= {figure.bound:.2f} {figure.unit}", measured, word, Text(figure.note))
    return grid


def _grid(*columns: str) -> Table:
    grid = Table(show_edge=False, pad_edge=False, caption_justify="left")
    for number, column in enumerate(columns):
        grid.add_column(column, justify="left" if number < 1 or column in ("subject", "holds") else "right")
    return grid


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
