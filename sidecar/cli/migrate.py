"""``sidecar migrate``: make the tables of a shared registry, or bring them to the form that this version needs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from sidecar.adapters.clock import SystemClock
from sidecar.adapters.credentials.remotes import RemoteSources
from sidecar.adapters.observation.fanout import Observers
from sidecar.adapters.registry.postgres import upgrade
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.config.load import Loaded, read
from sidecar.errors import Misconfigured
from sidecar.model.credential import Reference
from sidecar.rules.references import parse
from sidecar.wiring import SOURCES


@click.command(epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
@click.option("--url", metavar="REFERENCE", help="URL of the role that owns the tables; registry.postgres otherwise.")
@config_option
@output_option
def migrate(url: str | None, config: str, output: str) -> None:
    """Make the tables of a shared registry in PostgreSQL, or bring them to the form that this version needs.

    In one transaction, and only once however many run it. Sidecars need less than the owner: SELECT, INSERT and
    UPDATE on registry_rows and registry_heads, SELECT on registry_version. A registry in an SQLite file needs none
    of this: the sidecar does it when it opens the file.

    \b
    Examples:
      sidecar migrate
      sidecar migrate --url encrypted://registry-owner
    """
    loaded = read(Path(config), os.environ, {})
    named = url or loaded.config.registry.postgres
    if named is None:
        raise Misconfigured("registry.postgres is not configured; an SQLite file is migrated when it is opened")
    reference = parse(named)
    if reference.scheme not in SOURCES:
        raise Misconfigured(f"no store of {reference.scheme}:// credentials is configured")
    before, now = asyncio.run(_upgrade(loaded, reference))
    if output == "table":
        table(("form before", "form now"), [(before or "no tables", now)])
    else:
        data({"before": before, "now": now}, output)


async def _upgrade(loaded: Loaded, reference: Reference) -> tuple[str | None, str]:
    remote = RemoteSources(SystemClock(), Observers())
    try:
        source = SOURCES[reference.scheme](loaded.config, loaded.directory, remote)
        return await upgrade((await source.resolve(reference)).secret)
    finally:
        await remote.close()
