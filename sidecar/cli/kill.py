"""``sidecar kill``: stop the tenant, an API key, a principal or a connector at once."""

from __future__ import annotations

import click

from sidecar.cli.admin import document, socket_of
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.cli.switches import COLUMNS, path_of, row, target_arguments


@click.command(epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
@target_arguments
@click.option("--reason", required=True, help="Why: kept with the switch, and shown to callers that are refused.")
@config_option
@output_option
def kill(target: str, id: str | None, reason: str, config: str, output: str) -> None:
    """Set a kill switch: new calls of what it names are refused at once, open streams are cut within a second.

    It holds until `sidecar switches clear`, over restarts too. Set again, it gets the new reason.

    \b
    Examples:
      sidecar kill principal reporting-agent --reason "it sends mail in a loop"
      sidecar kill key 4f2a --reason "the key was in a public log"
      sidecar kill connector github --reason "incident 7"
      sidecar kill tenant --reason "everything stops until we know more"
    """
    path = path_of(target, id, config)
    made = document(socket_of(config), "PUT", path, {"reason": reason})
    if output != "table":
        data(made, output)
        return
    table((*COLUMNS, "evidence"), [(*row(made), made.get("evidence_id"))])
