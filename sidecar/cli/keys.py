"""``sidecar keys``: API keys for principals, shown once.

A key is ``scp_<id>_<32 random bytes in base64url>``. The configuration keeps its id and the SHA-256 of the whole
string; 256 bits of chance need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final, NamedTuple

import click

from sidecar.cli.show import data, output_option

_SECRET_BYTES: Final = 32
_ID: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?", re.ASCII)  # an id without the key's own separator
_PRINCIPAL: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)


class NewKey(NamedTuple):
    """A fresh key (``key``: the only copy) and what the configuration keeps of it."""

    principal: str
    id: str
    key: str
    sha256: str


@click.group()
def keys() -> None:
    """Make API keys for principals.

    \b
    Examples:
      sidecar keys new reporting-agent
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
    return f'"{text}"'
