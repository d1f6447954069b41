"""``sidecar principals``: who may call a running sidecar, and with what roles."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli import registry
from sidecar.cli.admin import document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.registry import file_option, segment
from sidecar.cli.show import config_option, data, output_option, table

_PATH = "/v1/principals"


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def principals() -> None:
    """List and register principals, grant and revoke their roles. `sidecar keys make` gives one a key.

    \b
    Examples:
      sidecar principals list
      sidecar principals put auditor-ann -f ann.yaml
      sidecar principals grant reporting-agent analyst
    """


@principals.command("list")
@config_option
@output_option
def list_(config: str, output: str) -> None:
    """Every principal, its roles and keys, and who says so.

    \b
    Examples:
      sidecar principals list
      sidecar principals list -o json
    """
    found = registry.listed(config, _PATH, "principals")
    if output != "table":
        data(found, output)
        return
    rows = [
        (each["id"], each["kind"], ", ".join(each["roles"]), ", ".join(each["keys"]), registry.where(each))
        for each in found
    ]
    table(("principal", "kind", "roles", "keys", "from"), rows)


@principals.command()
@click.argument("principal")
@config_option
@output_option
def show(principal: str, config: str, output: str) -> None:
    """One principal.

    \b
    Examples:
      sidecar principals show reporting-agent
    """
    registry.show(document(socket_of(config), "GET", f"{_PATH}/{segment(principal)}"), output)


@principals.command()
@click.argument("principal")
@file_option
@config_option
@output_option
def put(principal: str, file: Path, config: str, output: str) -> None:
    """Register PRINCIPAL, or give it a new document; its keys are made by themselves.

    \b
    Examples:
      sidecar principals put auditor-ann -f ann.yaml
      echo '{kind: person, roles: [auditor]}' | sidecar principals put auditor-ann -f -
    """
    registry.show(registry.put(config, f"{_PATH}/{segment(principal)}", registry.read(file)), output)


@principals.command()
@click.argument("principal")
@config_option
@output_option
def remove(principal: str, config: str, output: str) -> None:
    """Remove PRINCIPAL with its keys and roles.

    \b
    Examples:
      sidecar principals remove auditor-ann
    """
    registry.show(registry.remove(config, f"{_PATH}/{segment(principal)}"), output)


@principals.command()
@click.argument("principal")
@click.argument("role")
@config_option
@output_option
def grant(principal: str, role: str, config: str, output: str) -> None:
    """Give PRINCIPAL a ROLE: grants of the policy name roles; tenant-admin, auditor and operator open this door.

    \b
    Examples:
      sidecar principals grant reporting-agent analyst
    """
    path = f"{_PATH}/{segment(principal)}/roles/{segment(role)}"
    registry.show(document(socket_of(config), "PUT", path), output)


@principals.command()
@click.argument("principal")
@click.argument("role")
@config_option
@output_option
def revoke(principal: str, role: str, config: str, output: str) -> None:
    """Take a granted ROLE back.

    \b
    Examples:
      sidecar principals revoke reporting-agent analyst
    """
    path = f"{_PATH}/{segment(principal)}/roles/{segment(role)}"
    registry.show(document(socket_of(config), "DELETE", path), output)
