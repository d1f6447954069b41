"""``sidecar credentials``: the sealed store behind ``encrypted://`` references.

A value comes from stdin or from a prompt that does not show it, and never from an argument, where the shell's history
and every user's process list would keep it. No command prints a value.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args

import click
from click.core import ParameterSource

from sidecar.adapters.credentials import master_key
from sidecar.adapters.credentials.private_files import make_private_directory
from sidecar.adapters.credentials.sealed_file import Kind
from sidecar.adapters.credentials.sealed_folder import Entry, SealedFolder, sealed_files
from sidecar.adapters.dumps import forbid_dumps
from sidecar.cli.credentials_log import log, served
from sidecar.cli.credentials_test import test
from sidecar.cli.show import config_option, data, output_option, table
from sidecar.config.load import read
from sidecar.config.sections import StoreSection
from sidecar.errors import Misconfigured
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import MANY_LINES, VALUE_LIMIT
from sidecar.rules.references import check_identifier

KINDS: Final = get_args(Kind)
_EASILY_FOUND: Final = 8  # bytes; shorter values also mask ordinary text by chance
_LINE_END: Final = re.compile(rb"\r?\n\Z")

Command = TypeVar("Command", bound=Callable[..., Any])


class Places(NamedTuple):
    """Where the store and its master key are."""

    directory: Path
    key_file: Path


def _places_options(command: Command) -> Command:
    key_file = click.option("--key-file", type=click.Path(dir_okay=False), help="The master key; over -c.")
    directory = click.option("--directory", type=click.Path(file_okay=False), help="The store; over -c.")
    return config_option(directory(key_file(command)))


_no_more = click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="")
# What looks like an option must end among `more` and be refused unseen: it may be a value.
_UNSEEN: Final = {"ignore_unknown_options": True}


class WithoutValue(click.Command):
    """A command that refuses whatever could be a value, before any of it is taken for a cluster of short options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The rest of the arguments; a single dash with more than ``-c FILE`` behind it ends here."""
        if any(len(argument) > 2 and argument[0] == "-" and argument[1] not in "-c" for argument in args):
            _refuse(("",))
        return super().parse_args(ctx, args)


@click.group(epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def credentials() -> None:
    """Manage the sealed credential store.

    \b
    Examples:
      sidecar credentials new-key
      printf %s "$TOKEN" | sidecar credentials put github
      sidecar credentials list -o json
      sidecar credentials test vault://secret/acme/crm#token
    """
    forbid_dumps()  # before a value is read


credentials.add_command(test)
credentials.add_command(log)
credentials.add_command(served)


@credentials.command(cls=WithoutValue, context_settings=_UNSEEN)
@click.argument("name", metavar="ID")
@_no_more
@click.option("--kind", type=click.Choice(KINDS), default="API_KEY", show_default=True, help="What the value is.")
@_places_options
def put(name: str, more: tuple[str, ...], kind: Kind, **where: str | None) -> None:
    """Store a value under ID, or replace the value there.

    The value is read from stdin, or asked for. One line break at its end is dropped, and any other is refused, since
    it would split the header that the value is put into; not so for SSH_KEY and CERTIFICATE.

    \b
    Examples:
      printf %s "$TOKEN" | sidecar credentials put github
      sidecar credentials put deploy-key --kind SSH_KEY < id_ed25519
    """
    _refuse(more)
    check_identifier(name)
    store = _store(where)
    version = store.put(name, _value(kind), kind)
    click.echo(f"Stored {name}, version {version}. Its reference is encrypted://{name}", err=True)


@credentials.command("list")
@output_option
@_places_options
def list_(output: str, **where: str | None) -> None:
    """List the credentials, never their values.

    A credential that was changed, or is sealed under another master key, is listed as broken.

    \b
    Examples:
      sidecar credentials list
      sidecar credentials list -o json
    """
    entries = _store(where).list()
    rows = [_row(entry) for entry in entries]
    if output == "table":
        table(("id", "kind", "version", "created", "updated", "state"), [tuple(row.values()) for row in rows])
    else:
        data(rows, output)


@credentials.command(cls=WithoutValue, context_settings=_UNSEEN)
@click.argument("name", metavar="[ID]", required=False)
@_no_more
@click.option("--master", is_flag=True, help="Wrap every credential under a new master key.")
@_places_options
def rotate(name: str | None, more: tuple[str, ...], master: bool, **where: str | None) -> None:
    """Give the credential ID a new value, or the whole store a new master key.

    A running sidecar uses the new value from the next call on. A rotation of the master key that was cut off leaves
    everything readable; run it again to finish it.

    \b
    Examples:
      printf %s "$NEW_TOKEN" | sidecar credentials rotate github
      sidecar credentials rotate --master
    """
    _refuse(more)
    if master == (name is not None):
        raise click.UsageError("give either ID, or --master")
    store = _store(where)
    if name is None:
        key, count = store.rotate_master()
        click.echo(f"The master key is now {key}; {count} credentials were wrapped anew.", err=True)
        return
    kind = next((entry.head.kind for entry in store.list() if entry.id == name and entry.head), KINDS[0])
    store.entry(name)
    version = store.put(name, _value(kind), kind)
    click.echo(f"Rotated {name}: version {version}.", err=True)


@credentials.command()
@click.argument("name", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_places_options
def delete(name: str, yes: bool, **where: str | None) -> None:
    """Delete the credential ID. Calls that need it are refused from then on.

    \b
    Examples:
      sidecar credentials delete github
      sidecar credentials delete github --yes
    """
    check_identifier(name)
    store = _store(where)
    if not yes:
        click.confirm(f"Delete {name}? Its value cannot be brought back.", abort=True, err=True)
    store.delete(name)
    click.echo(f"Deleted {name}.", err=True)


@credentials.command("new-key")
@_places_options
def new_key(**where: str | None) -> None:
    """Make the master key of a store that has none. An existing key is never replaced.

    Keep a copy of the key file away from the store: credentials sealed under a lost key are lost.

    \b
    Examples:
      sidecar credentials new-key
      sidecar credentials new-key --directory /var/lib/sidecar/store --key-file /run/keys/master.key
    """
    places = _places(where)
    make_private_directory(places.directory)
    if not places.key_file.exists() and sealed_files(places.directory):
        raise Misconfigured(
            f"{places.directory} holds credentials that are sealed under another master key: restore that key to "
            f"{places.key_file}, or move the credentials away"
        )
    places.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = master_key.create(places.key_file)
    click.echo(f"Wrote the master key {key.id} to {places.key_file}", err=True)


def _places(where: dict[str, Any]) -> Places:
    """Flags over the configuration; a folder without ``sidecar.yaml`` has the store where its defaults say."""
    directory, key_file = where["directory"], where["key_file"]
    if directory and key_file:
        return Places(Path(directory), Path(key_file))
    config = Path(where["config"])
    section, beside = StoreSection(), config.absolute().parent
    if config.exists() or click.get_current_context().get_parameter_source("config") is not ParameterSource.DEFAULT:
        loaded = read(config, os.environ, {})
        section, beside = loaded.config.store, loaded.directory
    return Places(Path(directory or beside / section.directory), Path(key_file or beside / section.key_file))


def _store(where: dict[str, Any]) -> SealedFolder:
    return SealedFolder(*_places(where))


def _refuse(more: tuple[str, ...]) -> None:
    if more:
        raise click.UsageError(
            "a value is never given as an argument, where the shell's history and the process list keep it: pipe it "
            "to stdin, or run the command alone and be asked. If what you gave was a secret, replace it now"
        )


def _is_typed() -> bool:
    return sys.stdin.isatty()


def _value(kind: str) -> Secret:
    if _is_typed():
        plain = str(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)).encode()
    else:
        plain = sys.stdin.buffer.read(VALUE_LIMIT + 2)
        plain = plain if kind in MANY_LINES else _LINE_END.sub(b"", plain)
    if not plain:
        raise Misconfigured("no value came on stdin")
    if len(plain) < _EASILY_FOUND:
        click.echo(
            f"warning: a value of fewer than {_EASILY_FOUND} bytes is easy to guess, and the same characters in an "
            "upstream's answer are masked wherever they stand",
            err=True,
        )
    return Secret(plain)


def _row(entry: Entry) -> dict[str, Any]:
    about = entry.head
    return {
        "id": entry.id,
        "kind": about.kind if about else None,
        "version": about.version if about else None,
        "created": about.created if about else None,
        "updated": about.updated if about else None,
        "state": "ok" if about else "broken",
    }
