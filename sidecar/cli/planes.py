"""``sidecar planes``: the knowledge planes of a running sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidecar.cli import registry
from sidecar.cli.admin import document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.registry import file_option, segment
from sidecar.cli.show import config_option, data, output_option, table

_PATH = "/v1/planes"


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def planes() -> None:
    """List, register, enable and disable the knowledge planes of a running sidecar.

    \b
    Examples:
      sidecar planes list
      sidecar planes put wiki -f wiki-plane.yaml
      sidecar planes disable wiki
    """


@planes.command("list")
@config_option
@output_option
def list_(config: str, output: str) -> None:
    """Every plane, and who says so.

    \b
    Examples:
      sidecar planes list
      sidecar planes list -o json
    """
    found = registry.listed(config, _PATH, "planes")
    if output != "table":
        data(found, output)
        return
    rows = [
        (*(each[name] for name in ("id", "source", "owner")), _actions(each), each["status"], registry.where(each))
        for each in found
    ]
    table(("plane", "source", "owner", "actions", "status", "from"), rows)


def _actions(plane: dict[str, Any]) -> str:
    return ", ".join(sorted(plane["actions"]))


@planes.command()
@click.argument("plane")
@config_option
@output_option
def show(plane: str, config: str, output: str) -> None:
    """One plane: the operations behind each of its actions.

    \b
    Examples:
      sidecar planes show wiki
    """
    registry.show(document(socket_of(config), "GET", f"{_PATH}/{segment(plane)}"), output)


@planes.command()
@click.argument("plane")
@file_option
@config_option
@output_option
def put(plane: str, file: Path, config: str, output: str) -> None:
    """Register PLANE, or give it a new document.

    \b
    Examples:
      sidecar planes put wiki -f wiki-plane.yaml
      echo '{source: wiki, actions: {retrieve: [get]}}' | sidecar planes put wiki -f -
    """
    registry.show(registry.put(config, f"{_PATH}/{segment(plane)}", registry.read(file)), output)


@planes.command()
@click.argument("plane")
@config_option
@output_option
def remove(plane: str, config: str, output: str) -> None:
    """Remove PLANE.

    \b
    Examples:
      sidecar planes remove wiki
    """
    registry.show(registry.remove(config, f"{_PATH}/{segment(plane)}"), output)


@planes.command()
@click.argument("plane")
@config_option
@output_option
def enable(plane: str, config: str, output: str) -> None:
    """Put PLANE in service.

    \b
    Examples:
      sidecar planes enable wiki
    """
    registry.show(registry.post(config, f"{_PATH}/{segment(plane)}/enable"), output)


@planes.command()
@click.argument("plane")
@config_option
@output_option
def disable(plane: str, config: str, output: str) -> None:
    """Take PLANE out of service: calls by it are refused "inactive".

    \b
    Examples:
      sidecar planes disable wiki
    """
    registry.show(registry.post(config, f"{_PATH}/{segment(plane)}/disable"), output)
