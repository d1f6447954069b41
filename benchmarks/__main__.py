"""``python -m benchmarks``: run everything, print it, and write ``benchmarks/latest.json``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click
import msgspec
from rich.console import Console

from benchmarks import compare, decisions, peers, report, rotation, scenarios, swap
from benchmarks.compare import Effort, Measured

_LATEST: Final = Path(__file__).with_name("latest.json")
_FULL: Final = Effort(seconds=3, rounds=3, evaluations=20_000)
_QUICK: Final = Effort(seconds=1, rounds=1, evaluations=10_000)


@click.command(
    epilog="Exit codes: 0 measured, 1 the run does not count (evidence, counts or answers are wrong), 2 something "
    "needed is missing, 3 with --strict: a figure is missed."
)
@click.option("--quick", is_flag=True, help="About half a minute instead of two and a half; noisier.")
@click.option("--soak", is_flag=True, help="A million calls as well; takes minutes.")
@click.option("--strict", is_flag=True, help="Fail when a figure is missed.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(quick: bool, soak: bool, strict: bool, output: str) -> None:
    """Measure one governed call beside raw Envoy and a plain aiohttp proxy.

    \b
    Examples:
      make bench
      make bench ARGS="--quick -o json"
    """
    if shutil.which("wrk") is None:
        click.echo("wrk is missing: apt-get install wrk", err=True)
        raise click.exceptions.Exit(2)
    signal.signal(signal.SIGTERM, _leave)
    try:
        with _telling() as tell:
            peers.install(tell)
            measured = _run(_QUICK if quick else _FULL, soak=soak, tell=tell)
    except RuntimeError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(2) from None
    _LATEST.write_bytes(msgspec.json.format(msgspec.json.encode(measured.rows), indent=2) + b"\n")
    if output == "json":
        click.echo(report.as_json(measured))
    else:
        report.show(measured)
    if measured.problems:
        raise click.exceptions.Exit(1)
    if strict and any(figure.holds is False for figure in measured.figures):
        raise click.exceptions.Exit(3)


def _run(effort: Effort, *, soak: bool, tell: Callable[[str], None]) -> Measured:
    folder = Path(tempfile.mkdtemp(prefix="policy-sidecar-bench-"))
    try:
        found = [
            compare.run(folder / "plain", effort, tell),
            decisions.run(folder / "decisions", effort.evaluations, tell),
            scenarios.over_tls(folder / "tls", effort.seconds, tell),
            scenarios.startup(folder / "startup", effort.rounds, tell),
            scenarios.slow_disk(folder / "slow", 2 + 2 * effort.rounds, tell),
            swap.run(folder / "swap", 2 + 2 * effort.rounds, tell),
            rotation.run(folder / "rotation", 2 + 2 * effort.rounds, tell),
        ]
        if soak:
            found.append(scenarios.soak(folder / "soak", tell))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Measured(
        [row for one in found for row in one.rows],
        [figure for one in found for figure in one.figures],
        [problem for one in found for problem in one.problems],
    )


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """What is going on, on stderr: one changing line on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: click.echo(text, err=True)
        return
    with console.status("starting") as status:
        yield status.update


def _leave(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    main()
