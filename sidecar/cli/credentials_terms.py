"""What ``sidecar credentials`` shows of credentials and says of them, and what ends or is to be rotated soon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from sidecar.cli import FAILED, registry
from sidecar.cli.credentials_where import SCHEMES, configured, done, opened, places_options
from sidecar.cli.show import data, output_option, table
from sidecar.errors import SidecarError
from sidecar.model.credential import About, Terms
from sidecar.rules.credential_terms import DAY, LONGEST_ROTATION, expiring, micros, rotatable
from sidecar.rules.credential_types import KINDS

_DAYS: Final = re.compile(r"([1-9][0-9]{0,4})d")

Command = TypeVar("Command", bound=Callable[..., Any])
store_option = click.option(
    "--store", "stores", multiple=True, type=click.Choice(SCHEMES), help="Of this store only; may be repeated."
)


def moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """Microseconds since the epoch: in so many days (``90d``), or a date or time of RFC 3339, in UTC if it says no
    zone.
    """
    if text is None:
        return None
    days = _DAYS.fullmatch(text)
    if days is not None:
        return now() + int(days[1]) * DAY
    try:
        then = datetime.fromisoformat(text)
        return micros((then if then.tzinfo else then.replace(tzinfo=UTC)).isoformat())
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither like 90d nor a date such as 2027-03-01") from None


def terms_options(command: Command) -> Command:
    """The options ``--kind``, ``--expires`` and ``--rotate-days``."""
    kind = click.option("--kind", type=click.Choice(KINDS), help="What the value is; its form is checked.")
    expires = click.option("--expires", callback=moment, metavar="WHEN", help="Refused from 90d or 2027-03-01 on.")
    days = click.option(
        "--rotate-days", type=click.IntRange(1, LONGEST_ROTATION), help="It is to be rotated every so many days."
    )
    return kind(expires(days(command)))


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def row(about: About) -> dict[str, Any]:
    """A credential for programs; times of ``expires`` in microseconds since the epoch."""
    return {
        "reference": str(about.reference),
        "kind": about.kind,
        "version": about.version,
        "created": about.created,
        "updated": about.updated,
        "expires": about.expires,
        "rotate_days": about.rotate_days,
        "state": about.state,
        "changeable": about.changeable,
    }


def show_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], output: str) -> None:
    """Some columns for people, everything for programs."""
    if output == "table":
        table(columns, [tuple(registry.text(name, one[name]) for name in columns) for one in rows])
    else:
        data(list(rows), output)


def gathered(where: dict[str, Any], stores: tuple[str, ...]) -> tuple[list[About], bool]:
    """What the stores have, and whether all of them answered; what is wrong with one does not hide the others."""
    rows: list[About] = []
    whole = True
    asked = stores or configured(where)
    for scheme in asked:
        try:
            rows += done(_listed(where, scheme))
        except SidecarError as error:
            if len(asked) == 1:
                raise
            whole = False
            for said in (error.detail, *(f"  {reason.message} [{reason.code}]" for reason in error.reasons)):
                click.echo(f"{scheme}: {said}", err=True)
    return rows, whole


def finish(whole: bool) -> None:
    """End the command: failed, where a store did not answer."""
    click.get_current_context().exit(0 if whole else FAILED)


async def _listed(where: dict[str, Any], scheme: str) -> Sequence[About]:
    async with opened(where, scheme) as store:
        return await store.list()


@click.command("expiring")
@click.option("--days", type=click.IntRange(0), default=30, show_default=True, help="Within so many days.")
@store_option
@output_option
@places_options
def expiring_(days: int, stores: tuple[str, ...], output: str, **where: str | None) -> None:
    """List the credentials that have ended or end soon, soonest first.

    An end is what was said when the value was stored, or a certificate's own. Calls that need a credential are
    refused from its end on.

    \b
    Examples:
      sidecar credentials expiring
      sidecar credentials expiring --days 7 -o json
    """
    found, whole = gathered(where, stores)
    at = now()
    rows = [
        {**row(about), "days_left": round(((about.expires or 0) - at) / DAY, 1)}
        for about in expiring(found, at, days)
    ]
    show_rows(rows, ("reference", "kind", "version", "expires", "days_left"), output)
    finish(whole)


@click.command("rotatable")
@click.option("--overdue", is_flag=True, help="Only those whose promised rotation is overdue.")
@store_option
@output_option
@places_options
def rotatable_(overdue: bool, stores: tuple[str, ...], output: str, **where: str | None) -> None:
    """List the credentials that can be rotated here, the most overdue first.

    How overdue a rotation is follows from `--rotate-days` and from when the value was written. What a store rotates
    itself is not listed.

    \b
    Examples:
      sidecar credentials rotatable
      sidecar credentials rotatable --overdue -o json
    """
    found, whole = gathered(where, stores)
    rows = [
        {**row(about), "overdue_days": None if days is None else round(days, 1)}
        for about, days in rotatable(found, now())
        if not overdue or (days is not None and days > 0)
    ]
    show_rows(rows, ("reference", "kind", "version", "updated", "rotate_days", "overdue_days"), output)
    finish(whole)


def terms(kind: str | None, expires: int | None, rotate_days: int | None) -> Terms:
    """What the options said."""
    return Terms(kind=kind, expires=expires, rotate_days=rotate_days)
