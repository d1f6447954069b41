"""``sidecar switches``: the kill switches of a running sidecar. ``sidecar kill`` sets one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from sidecar.cli.admin import document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.show import Command, config_option, data, output_option, table
from sidecar.config.load import read
from sidecar.model.registry import TARGETS, TENANT

COLUMNS: Final = ("target", "id", "reason", "by", "since (UTC)")


def target_arguments(command: Command) -> Command:
    """The arguments ``TARGET [ID]``, as the parameters ``target`` and ``id``."""
    id_ = click.argument("id", required=False)
    return click.argument("target", type=click.Choice(TARGETS))(id_(command))


def path_of(target: str, id: str | None, config: str) -> str:
    """The route of a switch; the tenant is the configuration's own where it is not named."""
    if id is None:
        if target != TENANT:
            raise click.UsageError(f"Which {target}? Name its id.")
        id = read(Path(config), os.environ, {}).config.tenant
    if not id.strip("."):
        raise click.BadParameter(f"{id!r} is no id", param_hint="ID")
    return f"/v1/switches/{target}/{quote(id, safe='')}"


def row(switch: dict[str, Any]) -> tuple[object, ...]:
    """What people see of a switch."""
    since = datetime.fromtimestamp(switch["at"] / 1e6, UTC)
    return switch["target"], switch["id"], switch["reason"], switch["by"], f"{since:%Y-%m-%d %H:%M:%S}"


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def switches() -> None:
    """List and clear the kill switches of a running sidecar; `sidecar kill` sets one.

    \b
    Examples:
      sidecar switches list
      sidecar switches clear principal reporting-agent
    """


@switches.command("list")
@config_option
@output_option
def list_(config: str, output: str) -> None:
    """Every switch that is set: what it stops, why, who set it and when.

    \b
    Examples:
      sidecar switches list
      sidecar switches list -o json
    """
    socket, found, after = socket_of(config), list[dict[str, Any]](), ""
    while True:
        page = document(socket, "GET", f"/v1/switches{after}")
        found += page["switches"]
        if not page.get("next"):
            break
        after = f"?after={quote(page['next'], safe='')}"
    if output != "table":
        data(found, output)
        return
    table(COLUMNS, [row(switch) for switch in found])


@switches.command()
@target_arguments
@config_option
@output_option
def clear(target: str, id: str | None, config: str, output: str) -> None:
    """Clear a switch: what it stopped is governed by policy again from the next call on.

    \b
    Examples:
      sidecar switches clear principal reporting-agent
      sidecar switches clear tenant
    """
    gone = document(socket_of(config), "DELETE", path_of(target, id, config))
    if output != "table":
        data(gone, output)
        return
    table(("cleared", "evidence"), [(gone["id"], gone["evidence_id"])])
