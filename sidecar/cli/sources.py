"""``sidecar sources``: the data sources of a running sidecar."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli import registry
from sidecar.cli.admin import ask, document, socket_of
from sidecar.cli.connectors import ALLOWED_STATUS, parameters_option
from sidecar.cli.groups import Group
from sidecar.cli.registry import file_option, segment
from sidecar.cli.show import config_option, data, output_option, table

_PATH = "/v1/sources"


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def sources() -> None:
    """List, register, activate and test the data sources of a running sidecar.

    \b
    Examples:
      sidecar sources list
      sidecar sources put wiki -f wiki-source.yaml
      sidecar sources deactivate wiki
    """


@sources.command("list")
@config_option
@output_option
def list_(config: str, output: str) -> None:
    """Every data source, and who says so.

    \b
    Examples:
      sidecar sources list
      sidecar sources list -o json
    """
    found = registry.listed(config, _PATH, "sources")
    if output != "table":
        data(found, output)
        return
    rows = [(each["id"], each["type"], each["connector"], each["status"], registry.where(each)) for each in found]
    table(("source", "type", "connector", "status", "from"), rows)


@sources.command()
@click.argument("source")
@config_option
@output_option
def show(source: str, config: str, output: str) -> None:
    """One data source, and why it is not served, where it is not.

    \b
    Examples:
      sidecar sources show wiki
    """
    registry.show(document(socket_of(config), "GET", f"{_PATH}/{segment(source)}"), output)


@sources.command()
@click.argument("source")
@file_option
@click.option("--draft", is_flag=True, help="Keep it although it is not complete; it is not served.")
@config_option
@output_option
def put(source: str, file: Path, draft: bool, config: str, output: str) -> None:
    """Register SOURCE, or give it a new document.

    \b
    Examples:
      sidecar sources put wiki -f wiki-source.yaml
      echo '{connector: wiki, type: document}' | sidecar sources put wiki -f -
    """
    query = "?draft=true" if draft else ""
    registry.show(registry.put(config, f"{_PATH}/{segment(source)}", registry.read(file), query), output)


@sources.command()
@click.argument("source")
@config_option
@output_option
def remove(source: str, config: str, output: str) -> None:
    """Remove SOURCE; refused while a plane needs it.

    \b
    Examples:
      sidecar sources remove wiki
    """
    registry.show(registry.remove(config, f"{_PATH}/{segment(source)}"), output)


@sources.command()
@click.argument("source")
@config_option
@output_option
def activate(source: str, config: str, output: str) -> None:
    """Put SOURCE in service.

    \b
    Examples:
      sidecar sources activate wiki
    """
    registry.show(registry.post(config, f"{_PATH}/{segment(source)}/activate"), output)


@sources.command()
@click.argument("source")
@config_option
@output_option
def deactivate(source: str, config: str, output: str) -> None:
    """Take SOURCE out of service: calls by its planes are refused "inactive".

    \b
    Examples:
      sidecar sources deactivate wiki
    """
    registry.show(registry.post(config, f"{_PATH}/{segment(source)}/deactivate"), output)


@sources.command()
@click.argument("source")
@click.argument("operation")
@parameters_option
@config_option
@output_option
def test(source: str, operation: str, parameters: dict[str, object], config: str, output: str) -> None:
    """Run OPERATION of the connector behind SOURCE; policy must grant it.

    \b
    Examples:
      sidecar sources test wiki get --parameters '{"id": "7"}'
    """
    body = {"operation": operation, "parameters": parameters}
    answered = ask(socket_of(config), "POST", f"{_PATH}/{segment(source)}/test", body)
    shown = {"status": answered.status, "evidence_id": answered.evidence_id, "answer": answered.content}
    if output == "table":
        table(("field", "value"), list(shown.items()))
    else:
        data(shown, output)
    if answered.status >= ALLOWED_STATUS:
        raise click.exceptions.Exit(1)
