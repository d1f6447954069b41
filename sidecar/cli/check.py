"""``sidecar check``: everything that is wrong with a configuration, before it is served."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sidecar.cli import FAILED
from sidecar.cli.check_foreseen import foreseen
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.config.faults import Fault
from sidecar.config.load import Examined, examine
from sidecar.config.sections import Config
from sidecar.errors import SidecarError
from sidecar.rules.addresses import static_addresses
from sidecar.rules.catalogue import compile_catalogue


@click.command(
    epilog="Exit codes: 0 the file may be served (warnings or not), 1 it has errors, 2 wrong command line."
)
@config_option
@output_option
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Put a value over the file's.")
def check(config: str, output: str, settings: tuple[str, ...]) -> None:
    """Check a configuration file and say what it would serve.

    All errors are shown at once, each with its file, line and path. The environment counts as it does for `run`. The
    policy folder is compiled, and what would refuse every call is a warning.

    \b
    Examples:
      sidecar check
      sidecar check -c /etc/sidecar/sidecar.yaml -o json
      sidecar check --set doors.access=127.0.0.1:9080
    """
    examined = _compiled(examine(Path(config), os.environ, overrides(settings)))
    if output == "table":
        _as_tables(examined, config)
    else:
        data(_as_document(examined, config), output)
    if examined.loaded is None:
        raise SystemExit(FAILED)


def _compiled(examined: Examined) -> Examined:
    """What a start would refuse beyond the file itself, such as a grant for a public network; then what calls would
    meet, as warnings.
    """
    if examined.loaded is None:
        return examined
    try:
        compile_catalogue(examined.loaded.config)
        static_addresses(examined.loaded.config.destinations)
    except SidecarError as error:
        fault = Fault("refused_at_start", examined.loaded.path.name, None, None, "", error.detail)
        return Examined(None, (fault,), examined.warnings)
    return examined._replace(warnings=(*examined.warnings, *foreseen(examined.loaded)))


def overrides(settings: Iterable[str]) -> dict[str, str]:
    """``section.field=value`` flags as the overrides of ``load``. Raises ``click.BadParameter``."""
    pairs = [setting.partition("=") for setting in settings]
    if any(not equals for _, equals, _ in pairs):
        raise click.BadParameter("a setting is FIELD=VALUE, such as doors.access=127.0.0.1:9080")
    return {name: value for name, _, value in pairs}


def _as_document(examined: Examined, config: str) -> dict[str, Any]:
    return {
        "file": config,
        "ok": examined.loaded is not None,
        "errors": [_entry(fault) for fault in examined.errors],
        "warnings": [_entry(fault) for fault in examined.warnings],
        "serves": serves(examined.loaded.config) if examined.loaded else None,
    }


def serves(config: Config) -> dict[str, Any]:
    """What a configuration would serve, by id; no secrets, no references."""
    return {
        "tenant": config.tenant,
        "doors": {
            "access": config.doors.access,
            "metrics": config.doors.metrics,
            "admin": config.doors.admin,
            "admin socket": config.doors.admin_socket,
        },
        "principals": {name: list(principal.roles) for name, principal in config.principals.items()},
        "connectors": {
            name: {"base_url": connector.base_url, "operations": list(connector.operations)}
            for name, connector in config.connectors.items()
        },
        "planes": {
            name: {action: list(operations) for action, operations in plane.actions.items()}
            for name, plane in config.planes.items()
        },
    }


def _entry(fault: Fault) -> dict[str, Any]:
    return fault._asdict()


def _as_tables(examined: Examined, config: str) -> None:
    for title, faults in (("Errors", examined.errors), ("Warnings", examined.warnings)):
        if faults:
            rows = [(fault.where, fault.path, fault.message, fault.code) for fault in faults]
            table(("where", "path", "what", "code"), rows, title)
            click.echo()
    if examined.loaded is None:
        click.echo(f"{config}: {_number(len(examined.errors), 'error')}, nothing would be served", err=True)
        return
    _serves_table(examined.loaded.config)
    click.echo(f"{config}: good, {_number(len(examined.warnings), 'warning')}", err=True)


def _serves_table(config: Config) -> None:
    rows: list[tuple[str, str, str]] = [("tenant", config.tenant, "")]
    rows += [("door", name, value or "not opened") for name, value in serves(config)["doors"].items()]
    rows += [("principal", name, ", ".join(section.roles)) for name, section in config.principals.items()]
    rows += [
        ("connector", name, f"{section.base_url} ({_number(len(section.operations), 'operation')})")
        for name, section in config.connectors.items()
    ]
    rows += [("plane", name, ", ".join(sorted(section.actions))) for name, section in config.planes.items()]
    table(("serves", "id", ""), rows)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
