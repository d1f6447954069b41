"""``sidecar keys``: API keys for principals, shown once.

A key is ``scp_<id>_<32 random bytes in base64url>``. The configuration keeps its id and the SHA-256 of the whole
string; 256 bits of chance need no slow hash.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from time import time
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import click

from sidecar.cli import registry
from sidecar.cli.admin import document, socket_of
from sidecar.cli.groups import Group
from sidecar.cli.show import config_option, data, output_option, table

_SECRET_BYTES: Final = 32
_ID: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?", re.ASCII)  # an id without the key's own separator
_PRINCIPAL: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)


class NewKey(NamedTuple):
    """A fresh key (``key``: the only copy) and what the configuration keeps of it."""

    principal: str
    id: str
    key: str
    sha256: str


@click.group(cls=Group)
def keys() -> None:
    """Make, list, rotate and revoke API keys of principals.

    `new` makes one for sidecar.yaml and asks nobody; the others ask a running sidecar and its registry.

    \b
    Examples:
      sidecar keys new reporting-agent
      sidecar keys make reporting-agent --days 90
      sidecar keys list
    """


@keys.command()
@click.argument("principal")
@click.option("--id", "key_id", help="The public id of the key; by default a random one.")
@output_option
def new(principal: str, key_id: str | None, output: str) -> None:
    """Make a key for PRINCIPAL and show it, once.

    Nothing is stored: give the key to the caller, and put the id and hash into the configuration.

    \b
    Examples:
      sidecar keys new reporting-agent
      sidecar keys new reporting-agent --id reporting-2 -o json
    """
    if not _PRINCIPAL.fullmatch(principal):
        raise click.BadParameter("a principal's id has lower-case letters, digits, dots, dashes and underscores")
    if key_id is not None and not _ID.fullmatch(key_id):
        raise click.BadParameter("a key's id has lower-case letters, digits, dots and dashes", param_hint="--id")
    made = make(principal, key_id or secrets.token_hex(5))
    if output != "table":
        data(made._asdict(), output)
        return
    click.echo(made.key)
    click.echo()
    click.echo(snippet(made))
    click.echo("The key is not stored and not shown again. The caller sends it as Authorization: Bearer.", err=True)


@keys.command("list")
@click.option("--principal", help="Of this principal only.")
@config_option
@output_option
def list_(principal: str | None, config: str, output: str) -> None:
    """Every key a running sidecar knows, without its secret: whose, until when, how often and when it was used.

    \b
    Examples:
      sidecar keys list
      sidecar keys list --principal reporting-agent -o json
    """
    query = "" if principal is None else f"?principal={quote(principal, safe='')}"
    found = registry.listed(config, f"/v1/keys{query}", "keys")
    if output != "table":
        data(found, output)
        return
    rows = [
        (
            *(each["id"], each["principal"], registry.text("expires", each["expires"])),
            *(each["used"], registry.text("last_used", each["last_used"]), registry.where(each)),
        )
        for each in found
    ]
    table(("key", "principal", "ends", "used", "last used", "from"), rows)


@keys.command("make")
@click.argument("principal")
@click.option("--days", type=click.IntRange(1, 3650), help="Let it end after so many days.")
@config_option
@output_option
def make_(principal: str, days: int | None, config: str, output: str) -> None:
    """Make a key for PRINCIPAL in the registry of a running sidecar, and show it, once. It works at once.

    \b
    Examples:
      sidecar keys make reporting-agent
      sidecar keys make reporting-agent --days 90 -o json
    """
    body: dict[str, Any] = {"principal": principal}
    if days is not None:
        body["expires"] = int((time() + days * 86400) * 1e6)
    _told(registry.post(config, "/v1/keys", body), output)


@keys.command()
@click.argument("key")
@click.option("--grace", default=3600, show_default=True, type=click.IntRange(0), help="Seconds the old one goes on.")
@config_option
@output_option
def rotate(key: str, grace: int, config: str, output: str) -> None:
    """Make a new key of the same principal, and show it, once; the old one ends later, so that no call fails.

    \b
    Examples:
      sidecar keys rotate 0a1b2c3d4e --grace 86400
    """
    _told(registry.post(config, f"/v1/keys/{registry.segment(key)}/rotate", {"grace_seconds": grace}), output)


@keys.command()
@click.argument("key")
@click.option("--days", type=click.IntRange(0, 3650), default=0, show_default=True, help="From now; 0 is at once.")
@config_option
@output_option
def expire(key: str, days: int, config: str, output: str) -> None:
    """Let a key end.

    \b
    Examples:
      sidecar keys expire 0a1b2c3d4e --days 7
    """
    end = {"at": int((time() + days * 86400) * 1e6)}
    registry.show(registry.post(config, f"/v1/keys/{registry.segment(key)}/expire", end), output)


@keys.command()
@click.argument("key")
@config_option
@output_option
def revoke(key: str, config: str, output: str) -> None:
    """Take a key away: the next call with it is not known.

    \b
    Examples:
      sidecar keys revoke 0a1b2c3d4e
    """
    registry.show(document(socket_of(config), "DELETE", f"/v1/keys/{registry.segment(key)}"), output)


def _told(made: dict[str, Any], output: str) -> None:
    if output != "table":
        data(made, output)
        return
    click.echo(made["key"])
    click.echo(
        f"Key {made['id']} of {made['principal']}: not shown again. It is sent as Authorization: Bearer.", err=True
    )


def make(principal: str, key_id: str) -> NewKey:
    """A fresh random key."""
    key = f"scp_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return NewKey(principal, key_id, key, hashlib.sha256(key.encode()).hexdigest())


def snippet(made: NewKey) -> str:
    """The lines of ``sidecar.yaml`` that make the key known."""
    return (
        "principals:\n"
        f"  {_quoted(made.principal)}:\n"
        "    keys:\n"
        f"      - id: {_quoted(made.id)}\n"
        f"        sha256: {_quoted(made.sha256)}"
    )


def _quoted(text: str) -> str:
    """Quoted, because an id or a hash of digits alone would be read as a number."""
    return json.dumps(text)
