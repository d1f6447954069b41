"""``sidecar credentials test``: whether a reference leads to a secret, without showing it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import click

from sidecar.cli.credentials_where import Quiet
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.config.faults import among
from sidecar.config.load import Loaded, read
from sidecar.errors import Misconfigured
from sidecar.model.credential import Credential, Reference
from sidecar.rules.references import parse


@click.command("test")
@click.argument("reference", metavar="REFERENCE")
@output_option
@config_option
def test(reference: str, output: str, config: str) -> None:
    """Resolve REFERENCE as a running sidecar would, and say its version; never its value.

    REFERENCE is written as in the configuration, or is the id of a configured credential. A database user
    that is lent for the test is given back at its end.

    \b
    Examples:
      sidecar credentials test vault://secret/acme/crm#token
      sidecar credentials test articles-token -o json
    """
    loaded = read(Path(config), os.environ, {})
    named = _named(reference, loaded)
    begun = time.perf_counter()
    credential = asyncio.run(_resolved(named, loaded))
    row = _row(named, credential, time.perf_counter() - begun)
    if output == "table":
        table(tuple(row), [tuple(row.values())])
    else:
        data(row, output)


def _named(text: str, loaded: Loaded) -> Reference:
    """Raises ``Misconfigured`` for what is neither, without repeating it: it may be a secret."""
    section = loaded.config.credentials.get(text)
    if section is None and "://" not in text:
        known = loaded.config.credentials
        raise Misconfigured(f"that is neither a reference nor the id of a configured credential; {among(known)}")
    return parse(section.reference if section is not None else text)


def _row(reference: Reference, credential: Credential, seconds: float) -> dict[str, Any]:
    return {
        "reference": str(reference),
        "state": "resolves",
        "version": credential.version,
        "kind": credential.kind,
        "milliseconds": round(seconds * 1000, 1),
    }


async def _resolved(reference: Reference, loaded: Loaded) -> Credential:
    from sidecar.adapters.clock import SystemClock  # noqa: PLC0415  # the other commands of the group need no loop
    from sidecar.adapters.credentials.remotes import RemoteSources  # noqa: PLC0415  # the same
    from sidecar.wiring import SOURCES  # noqa: PLC0415  # every part of a sidecar, 100 ms

    remote = RemoteSources(SystemClock(), Quiet())
    if reference.scheme not in SOURCES:
        raise Misconfigured(f"nothing resolves {reference.scheme}:// references")
    try:
        return await SOURCES[reference.scheme](loaded.config, loaded.directory, remote).resolve(reference)
    finally:
        await remote.close()
