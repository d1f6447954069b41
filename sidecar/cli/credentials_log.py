"""``sidecar credentials log`` and ``served``: who used which credential, and how a running sidecar has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from sidecar.cli.show import config_option, data, output_option, table

_PAGE: Final = 500
_AGO: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """Microseconds since the epoch: so long ago (``30m``, ``12h``, ``7d``), or a date or time of ISO 8601, in UTC
    where it says no zone."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    try:
        then = datetime.fromisoformat(text) if ago is None else datetime.now(UTC) - _length(ago)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is neither like 30m, 12h or 7d nor a date such as 2026-03-01") from None
    zoned = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0, int(zoned.timestamp() * 1e6))


def _length(ago: re.Match[str]) -> timedelta:
    return timedelta(**{_UNITS[ago[2]]: int(ago[1])})


@click.command()
@click.argument("reference", metavar="[REFERENCE]", required=False)
@click.option("--since", callback=moment, metavar="WHEN", help="Not older than 30m, 12h, 7d or 2026-03-01.")
@click.option("--principal", help="By this principal only.")
@click.option("--connector", help="For this connector only.")
@click.option("--version", help="Of this version of the credential only.")
@click.option("-n", "--lines", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@output_option
@config_option
def log(
    reference: str | None,
    since: int | None,
    principal: str | None,
    connector: str | None,
    version: str | None,
    lines: int,
    output: str,
    config: str,
) -> None:
    """Who used or changed which credential, when, for which call, and what came of it; newest first.

    It is read from the evidence of a running sidecar: failures are in it as well as successes. REFERENCE is written
    as in the configuration; an id alone is one of the sealed store.

    \b
    Examples:
      sidecar credentials log
      sidecar credentials log articles-token --since 7d
      sidecar credentials log vault://secret/acme/crm#token --version 3 -o json
      sidecar credentials log --principal reporting-agent --since 2026-03-01
    """
    named = reference if reference is None or "://" in reference else f"encrypted://{reference}"
    asked = {
        **{"reference": named, "version": version, "principal": principal, "connector": connector},
        **{"since": since},
    }
    found = _accesses(config, {name: value for name, value in asked.items() if value is not None}, lines)
    if output != "table":
        data(found, output)
        return
    table(("time", "who", "did", "credential", "for", "result", "evidence"), [_line(each) for each in found])


@click.command()
@output_option
@config_option
def served(output: str, config: str) -> None:
    """Every credential that a running sidecar's stores have or its configuration names: which connectors need it,
    which version is held for calls, what is missing, and which store does not answer.

    \b
    Examples:
      sidecar credentials served
      sidecar credentials served -o json
    """
    after = ""
    found: list[dict[str, Any]] = []
    faults: dict[str, dict[str, Any]] = {}
    while True:
        page = _asked(config, f"/v1/credentials?limit={_PAGE}{after}")
        found += page["credentials"]
        faults |= {fault["store"]: fault for fault in page["faults"]}
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'], safe='')}"
    for fault in faults.values():
        click.echo(
            f"warning: {fault['store']}:// is not whole here: {fault['message']} [{fault['reason']}]", err=True
        )
    if output != "table":
        data(found, output)
        return
    columns = ("credential", "type", "version", "state", "ends", "rotation", "needed by", "held")
    table(columns, [_row(each) for each in found])


def _accesses(config: str, wanted: dict[str, Any], lines: int) -> list[dict[str, Any]]:
    """The newest ``lines`` accesses; a page that comes short is followed."""
    before: dict[str, int] = {}
    found: list[dict[str, Any]] = []
    while len(found) < lines:
        query = urlencode({**wanted, **before, "limit": min(_PAGE, lines - len(found))})
        page = _asked(config, f"/v1/credentials/log?{query}")
        found += page["accesses"]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    return found


def _asked(config: str, path: str) -> Any:
    from sidecar.cli.admin import document, socket_of  # noqa: PLC0415  # 160 ms that no offline command need pay

    return document(socket_of(config), "GET", path)


def _time(micros: int | None) -> str:
    return "" if micros is None else f"{datetime.fromtimestamp(micros / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _line(access: dict[str, Any]) -> Sequence[str]:
    who = access["principal"] or "-"
    version = f" {access['version']}" if access["version"] else ""
    place = "/".join(each for each in (access["connector"], access["operation"]) if each)
    result = ", ".join([access["code"], *access["reasons"]])
    return (
        _time(access["at"]),
        f"{who} ({access['key_id']})" if access["key_id"] else who,
        access["verb"],
        f"{access['reference'] or '-'}{version}",
        place,
        f"{result} {access['status']}" if access["status"] else result,
        access["evidence_id"],
    )


def _row(view: dict[str, Any]) -> Sequence[str]:
    overdue = view["overdue_days"]
    rotation = "" if view["rotate_days"] is None else f"every {view['rotate_days']} d"
    if overdue is not None and overdue > 0:
        rotation += f", {overdue:.0f} d overdue"
    return (
        view["reference"],
        view["kind"] or "",
        view["version"] or "",
        "expired" if view["expired"] else view["state"],
        _time(view["expires"]),
        rotation,
        ", ".join(view["used_by"]),
        ", ".join(f"{kept['version']} for {kept['seconds']:.0f} s" for kept in view["held"]),
    )
