"""``sidecar tenant``: the tenant's record."""

from __future__ import annotations

import click

from sidecar.cli import registry
from sidecar.cli.admin import document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.show import Command, config_option, output_option


def reason_option(command: Command) -> Command:
    """The option ``--reason``."""
    return click.option("--reason", default="", help="Why; kept with the record.")(command)


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def tenant() -> None:
    """Show, suspend and activate the tenant of a running sidecar.

    \b
    Examples:
      sidecar tenant show
      sidecar tenant suspend --reason "contract ended"
    """


@tenant.command()
@config_option
@output_option
def show(config: str, output: str) -> None:
    """The tenant's record: active or suspended, since when, by whom and why.

    \b
    Examples:
      sidecar tenant show -o json
    """
    registry.show(document(socket_of(config), "GET", "/v1/tenant"), output)


@tenant.command()
@reason_option
@config_option
@output_option
def suspend(reason: str, config: str, output: str) -> None:
    """Deny the tenant everything until it is activated.

    \b
    Examples:
      sidecar tenant suspend --reason "contract ended"
    """
    registry.show(registry.post(config, "/v1/tenant/suspend", {"reason": reason}), output)


@tenant.command()
@reason_option
@config_option
@output_option
def activate(reason: str, config: str, output: str) -> None:
    """Serve the tenant again.

    \b
    Examples:
      sidecar tenant activate
    """
    registry.show(registry.post(config, "/v1/tenant/activate", {"reason": reason}), output)
