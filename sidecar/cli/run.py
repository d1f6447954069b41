"""``sidecar run``: serve."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
import uvloop

from sidecar.adapters.dumps import forbid_dumps
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import configure_logging
from sidecar.cli.check import overrides
from sidecar.cli.show import config_option
from sidecar.config.load import Loaded, read
from sidecar.process import run as serve

STANDARD_OUTPUT = 1


@click.command(
    epilog="Exit codes: 0 ended by SIGTERM or SIGINT, 1 could not start, 2 wrong command line. SIGHUP reloads."
)
@config_option
@click.option(
    "--set", "settings", multiple=True, metavar="SECTION.FIELD=VALUE", help="Overrides the file; repeatable."
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written once every door is open: their ports as JSON.",
)
def run(config: str, settings: tuple[str, ...], ready_file: Path | None) -> None:
    """Open the doors and govern calls until told to stop.

    \b
    Examples:
      sidecar run -c sidecar.yaml
      sidecar run --set doors.access=127.0.0.1:9080
    """
    forbid_dumps()  # before a key or a secret is read
    flags = overrides(settings)

    def reread() -> Loaded:
        return read(Path(config), os.environ, flags)

    loaded = reread()
    for warning in loaded.warnings:
        click.echo(f"sidecar: warning: {warning.reason().message}", err=True)
    lines = LineWriter(STANDARD_OUTPUT)
    configure_logging(lines)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(loaded, reread, lines, ready_file))
    finally:
        lines.close()
        sys.stdout.flush()
