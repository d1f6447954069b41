"""``sidecar connectors``: the connectors of a running sidecar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sidecar.cli import registry
from sidecar.cli.admin import ask, document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.registry import file_option, segment
from sidecar.cli.show import Command, config_option, data, output_option, table

ALLOWED_STATUS = 400  # below it the upstream took the call
_PATH = "/v1/connectors"


def parameters_option(command: Command) -> Command:
    """The option ``--parameters JSON``, as the parameter ``parameters``, read."""

    def read(_: click.Context, __: click.Parameter, given: str) -> Any:
        try:
            return json.loads(given)
        except ValueError as error:
            raise click.BadParameter(f"not JSON: {error}", param_hint="--parameters") from None

    option = click.option(
        "--parameters",
        default="{}",
        show_default=True,
        metavar="JSON",
        callback=read,
        help="The operation's parameters.",
    )
    return option(command)


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def connectors() -> None:
    """List, show, test and register the connectors of a running sidecar.

    \b
    Examples:
      sidecar connectors list
      sidecar connectors show github -o json
      sidecar connectors put github -f github.yaml
      sidecar connectors test github get-issue --parameters '{"number": 7}'
    """


@connectors.command("list")
@config_option
@output_option
def list_(config: str, output: str) -> None:
    """Every connector, its status and statistics.

    \b
    Examples:
      sidecar connectors list
      sidecar connectors list -c /etc/sidecar/sidecar.yaml -o json
    """
    found = registry.listed(config, _PATH, "connectors")
    if output != "table":
        data(found, output)
        return
    table(
        ("connector", "kind", "status", "operations", "calls", "errors", "in flight", "circuit", "last error"),
        [_row(connector) for connector in found],
    )


@connectors.command()
@click.argument("connector")
@config_option
@output_option
def show(connector: str, config: str, output: str) -> None:
    """One connector, its operations and statistics.

    \b
    Examples:
      sidecar connectors show github
      sidecar connectors show github -o yaml
    """
    found = document(socket_of(config), "GET", f"{_PATH}/{segment(connector)}")
    if output != "table":
        data(found, output)
        return
    rows = [
        (name, registry.text(name, value))
        for name, value in found.items()
        if name not in ("statistics", "labels") and value not in (None, [])
    ]
    rows += [(f"label {name}", value) for name, value in found["labels"].items()]
    rows += list(found["statistics"].items())
    table(("field", "value"), rows)


@connectors.command()
@click.argument("connector")
@click.argument("operation")
@parameters_option
@config_option
@output_option
def test(connector: str, operation: str, parameters: Any, config: str, output: str) -> None:
    """Run one operation as "system:admin" with the role "tenant-admin": policy must grant either.

    The call is governed and recorded like any other. Exit code 1 when it is refused or the upstream fails.

    \b
    Examples:
      sidecar connectors test github get-issue --parameters '{"number": 7}'
      sidecar connectors test github list-issues -o json
    """
    path = f"{_PATH}/{segment(connector)}/operations/{segment(operation)}/test"
    answered = ask(socket_of(config), "POST", path, {"parameters": parameters})
    shown = {"status": answered.status, "evidence_id": answered.evidence_id, "answer": answered.content}
    if output == "table":
        table(("field", "value"), list(shown.items()))
    else:
        data(shown, output)
    if answered.status >= ALLOWED_STATUS:
        raise click.exceptions.Exit(1)


@connectors.command()
@click.argument("connector")
@file_option
@click.option("--draft", is_flag=True, help="Keep it although it is not complete; it is not served.")
@config_option
@output_option
def put(connector: str, file: Path, draft: bool, config: str, output: str) -> None:
    """Register CONNECTOR, or give it a new document; agents that policy grants it use it from the next call on.

    \b
    Examples:
      sidecar connectors put github -f github.yaml
      sidecar connectors put github -f - --draft < github.yaml
    """
    query = "?draft=true" if draft else ""
    found = registry.put(config, f"{_PATH}/{segment(connector)}", registry.read(file), query)
    registry.show({name: value for name, value in found.items() if name != "statistics"}, output)


@connectors.command()
@click.argument("connector")
@config_option
@output_option
def remove(connector: str, config: str, output: str) -> None:
    """Remove CONNECTOR; refused while a source needs it.

    \b
    Examples:
      sidecar connectors remove github
    """
    registry.show(registry.remove(config, f"{_PATH}/{segment(connector)}"), output)


@connectors.command()
@click.argument("connector")
@click.option("--operation", help="Connected only once this operation went through; policy must grant it.")
@parameters_option
@config_option
@output_option
def connect(connector: str, operation: str | None, parameters: Any, config: str, output: str) -> None:
    """Put CONNECTOR in service.

    \b
    Examples:
      sidecar connectors connect github
      sidecar connectors connect github --operation get-issue --parameters '{"number": 7}'
    """
    body = {} if operation is None else {"operation": operation, "parameters": parameters}
    _moved(connector, "connect", config, output, body)


@connectors.command()
@click.argument("connector")
@config_option
@output_option
def disconnect(connector: str, config: str, output: str) -> None:
    """Take CONNECTOR out of service: new calls are refused "inactive", resting connections end.

    \b
    Examples:
      sidecar connectors disconnect github
    """
    _moved(connector, "disconnect", config, output)


@connectors.command()
@click.argument("connector")
@config_option
@output_option
def deprecate(connector: str, config: str, output: str) -> None:
    """Retire CONNECTOR for good; its name stays taken until it is removed.

    \b
    Examples:
      sidecar connectors deprecate github
    """
    _moved(connector, "deprecate", config, output)


@connectors.command()
@click.argument("connector")
@config_option
@output_option
def health(connector: str, config: str, output: str) -> None:
    """How CONNECTOR does, from the calls it had; nothing is sent to find out.

    \b
    Examples:
      sidecar connectors health github
    """
    registry.show(document(socket_of(config), "GET", f"{_PATH}/{segment(connector)}/health"), output)


def _moved(connector: str, verb: str, config: str, output: str, body: dict[str, Any] | None = None) -> None:
    found = registry.post(config, f"{_PATH}/{segment(connector)}/{verb}", body)
    registry.show({name: value for name, value in found.items() if name != "statistics"}, output)


def _row(connector: dict[str, Any]) -> tuple[object, ...]:
    counts = connector["statistics"]
    return (
        connector["id"],
        connector["kind"],
        connector["status"],
        len(connector["operations"]),
        counts["calls"],
        counts["errors"],
        counts["in_flight"],
        counts["circuit"],
        counts["last_error"],
    )
