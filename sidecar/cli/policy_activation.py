"""``sidecar policy activate|rollback|history``: bundles of a running sidecar, and what became of each."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec.structs import asdict

from sidecar.adapters.policy.history import read_history
from sidecar.cli.admin import document, socket_of
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.config.load import read
from sidecar.model.activation import Activation
from sidecar.wiring import policy_state

_SHOWN_DIGEST = 19  # "sha256:" and twelve digits
_reason = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history and the evidence.")


@click.command(
    epilog="Exit codes: 0 it decides now, or decided already; 1 refused, with every reason; 2 wrong command."
)
@click.argument("bundle", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_reason
@config_option
@output_option
def activate(bundle: Path | None, reason: str, config: str, output: str) -> None:
    """Activate BUNDLE, or what the configured source has now, without waiting for the next look.

    The answer comes once the bundle decides: verified, compiled, checked against the input's schema, tested, its
    canaries asked, recorded. What fails changes nothing.

    \b
    Examples:
      sidecar policy activate
      sidecar policy activate bundle.tar.gz --reason "hot fix"
    """
    body: dict[str, Any] = {"reason": reason}
    if bundle is not None:
        body["path"] = str(bundle.absolute())
    _tell(document(socket_of(config), "POST", "/v1/policy/activate", body)["activation"], output)


@click.command(
    epilog="Exit codes: 0 it decides now; 1 refused, or there is nothing to go back to; 2 wrong command line."
)
@click.option("--to", metavar="NAME", help="A digest or its first digits, a bundle's revision or its sequence.")
@_reason
@config_option
@output_option
def rollback(to: str | None, reason: str, config: str, output: str) -> None:
    """Go back to the bundle before the active one, or to another that is kept.

    What it goes back from does not come back by itself, nor by another rollback: a bundle with a higher sequence
    does, or `--to` its name.

    \b
    Examples:
      sidecar policy rollback --reason "denies the nightly job"
      sidecar policy rollback --to v41
    """
    body = {"reason": reason} | ({} if to is None else {"to": to})
    _tell(document(socket_of(config), "POST", "/v1/policy/rollback", body)["activation"], output)


@click.command()
@click.option("-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first.")
@config_option
@output_option
def history(limit: int, config: str, output: str) -> None:
    """Every activation and every refusal of a bundle: when, what, from where, by whom, and why.

    Reads the folder that the configuration names; no sidecar needs to run.

    \b
    Examples:
      sidecar policy history
      sidecar policy history -n 100 -o json
    """
    loaded = read(Path(config), os.environ, {})
    entries = read_history(policy_state(loaded))[: -limit - 1 : -1]
    if loaded.config.policy.bundle is None:
        click.echo("sidecar: no bundles decide here (policy.bundle); only they have a history", err=True)
    if output != "table":
        data([asdict(entry) for entry in entries], output)
        return
    table(
        ("number", "when (UTC)", "outcome", "name", "sequence", "revision", "from", "by", "why"),
        [_row(entry) for entry in entries],
    )


def _row(entry: Activation) -> tuple[object, ...]:
    when = datetime.fromtimestamp(entry.time // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    outcome = "rolled back" if entry.rollback and not entry.code else entry.outcome
    why = "; ".join(part for part in (entry.reason, *entry.errors) if part)
    revision = (entry.revision or "")[:_SHOWN_DIGEST]
    return (entry.number, when, outcome, entry.name, entry.sequence, revision, entry.origin, entry.by, why)


def _tell(activation: dict[str, Any] | None, output: str) -> None:
    if output != "table":
        data(activation, output)
    elif activation is None:
        click.echo("nothing changed: that bundle decides already")
    else:
        name, sequence = activation["name"] or "unnamed", activation["sequence"]
        tested = f"{activation['tests']} tests, {activation['cases']} canaries"
        click.echo(f"{name} (sequence {sequence}, {activation['revision']}) decides now: {tested} passed")
