"""``sidecar connectors``: the connectors of a running sidecar."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from sidecar.cli.admin import ask, document, socket_of
from sidecar.cli.show import config_option, data, output_option, table

_ALLOWED_STATUS = 400  # below it the upstream took the call


@click.group(epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def connectors() -> None:
    """List, show and test the connectors of a running sidecar.

    \b
    Examples:
      sidecar connectors list
      sidecar connectors show github -o json
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
    found = document(socket_of(config), "GET", "/v1/connectors")["connectors"]
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
    found = document(socket_of(config), "GET", f"/v1/connectors/{_segment(connector)}")
    if output != "table":
        data(found, output)
        return
    rows = [(name, value) for name, value in found.items() if name not in ("operations", "statistics", "labels")]
    rows += [("operations", ", ".join(found["operations"]))]
    rows += [(f"label {name}", value) for name, value in found["labels"].items()]
    rows += list(found["statistics"].items())
    table(("field", "value"), rows)


@connectors.command()
@click.argument("connector")
@click.argument("operation")
@click.option("--parameters", default="{}", show_default=True, metavar="JSON", help="The operation's parameters.")
@config_option
@output_option
def test(connector: str, operation: str, parameters: str, config: str, output: str) -> None:
    """Run one operation as "system:admin" with the role "tenant-admin": policy must grant either.

    The call is governed and recorded like any other. Exit code 1 when it is refused or the upstream fails.

    \b
    Examples:
      sidecar connectors test github get-issue --parameters '{"number": 7}'
      sidecar connectors test github list-issues -o json
    """
    try:
        asked = json.loads(parameters)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--parameters") from None
    path = f"/v1/connectors/{_segment(connector)}/operations/{_segment(operation)}/test"
    answered = ask(socket_of(config), "POST", path, {"parameters": asked})
    shown = {"status": answered.status, "evidence_id": answered.evidence_id, "answer": answered.content}
    if output == "table":
        table(("field", "value"), list(shown.items()))
    else:
        data(shown, output)
    if answered.status >= _ALLOWED_STATUS:
        raise click.exceptions.Exit(1)


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever is in it. Dots alone would be steps of the path."""
    if not name.strip("."):
        raise click.BadParameter(f"{name!r} is no name")
    return quote(name, safe="")


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
