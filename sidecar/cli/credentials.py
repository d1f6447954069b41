"""``sidecar credentials``: what the stores of secrets keep, and how it is stored, rotated and deleted.

These commands ask the stores themselves and need no running sidecar: the sealed store behind ``encrypted://``, or a
Vault or AWS Secrets Manager as the configuration says who the sidecar is there. No command prints a value.
"""

from __future__ import annotations

from typing import Any

import click

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.folder import SealedFolder, sealed_files
from sidecar.adapters.credentials.sealed.private_files import make_private_directory
from sidecar.adapters.dumps import forbid_dumps
from sidecar.cli import registry
from sidecar.cli.credentials_log import log, served
from sidecar.cli.credentials_terms import (
    expiring_,
    finish,
    gathered,
    rotatable_,
    row,
    show_rows,
    store_option,
    terms,
    terms_options,
)
from sidecar.cli.credentials_test import test
from sidecar.cli.credentials_value import UNSEEN, WithoutValue, no_more, refuse, value
from sidecar.cli.credentials_where import SEALED, done, named, opened, places, places_options
from sidecar.cli.groups import Group
from sidecar.cli.show import output_option
from sidecar.errors import Misconfigured, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.ports import CredentialStore
from sidecar.rules.credential_terms import rotated

_COLUMNS = ("reference", "kind", "version", "updated", "expires", "rotate_days", "state")


@click.group(cls=Group, epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong command line.")
def credentials() -> None:
    """Manage the credentials that references name.

    REFERENCE is encrypted://ID of the sealed store (or ID alone), vault://PATH#FIELD or aws://NAME#FIELD.

    \b
    Examples:
      sidecar credentials new-key
      printf %s "$TOKEN" | sidecar credentials put github --expires 90d
      sidecar credentials list -o json
      sidecar credentials test vault://secret/acme/crm#token
    """
    forbid_dumps()  # before a value is read


for command in (test, log, served, expiring_, rotatable_):
    credentials.add_command(command)


@credentials.command(cls=WithoutValue, context_settings=UNSEEN)
@click.argument("reference", metavar="REFERENCE")
@no_more
@terms_options
@places_options
def put(
    reference: str,
    more: tuple[str, ...],
    kind: str | None,
    expires: int | None,
    rotate_days: int | None,
    **where: str | None,
) -> None:
    """Store a value under REFERENCE, or replace the value there.

    The value is read from stdin, or asked for. One line break at its end is dropped, and any other is refused, since
    it would split the header that the value is put into; not so for SSH_KEY and CERTIFICATE.

    \b
    Examples:
      printf %s "$TOKEN" | sidecar credentials put github
      sidecar credentials put deploy-key --kind SSH_KEY < id_ed25519
      printf %s "$TOKEN" | sidecar credentials put vault://secret/acme/crm#token --expires 90d --rotate-days 30
    """
    refuse(more)
    about = _stored(named(reference), terms(kind, expires, rotate_days), where, there=False)
    click.echo(f"Stored {about.reference}, version {about.version}. {_holds(about.reference)}", err=True)


@credentials.command("list")
@store_option
@output_option
@places_options
def list_(stores: tuple[str, ...], output: str, **where: str | None) -> None:
    """List the credentials of every configured store, never their values.

    A credential that was changed, or is sealed under another master key, is listed as broken. Of a Vault and of AWS:
    what this tenant may name there, without fields.

    \b
    Examples:
      sidecar credentials list
      sidecar credentials list --store vault -o json
    """
    rows, whole = gathered(where, stores)
    show_rows([row(about) for about in rows], _COLUMNS, output)
    finish(whole)


@credentials.command()
@click.argument("reference", metavar="REFERENCE")
@output_option
@places_options
def show(reference: str, output: str, **where: str | None) -> None:
    """Show what is known of one credential, never its value.

    \b
    Examples:
      sidecar credentials show github
      sidecar credentials show vault://secret/acme/crm#token -o json
    """
    at = named(reference)

    async def work() -> About:
        async with opened(where, at.scheme) as store:
            return await store.about(at)

    registry.show(row(done(work())), output)


@credentials.command(cls=WithoutValue, context_settings=UNSEEN)
@click.argument("reference", metavar="[REFERENCE]", required=False)
@no_more
@click.option("--master", is_flag=True, help="Wrap every sealed credential under a new master key.")
@terms_options
@places_options
def rotate(
    reference: str | None,
    more: tuple[str, ...],
    master: bool,
    kind: str | None,
    expires: int | None,
    rotate_days: int | None,
    **where: str | None,
) -> None:
    """Give the credential REFERENCE a new value, or the whole sealed store a new master key.

    What is not said stays as it was, but for the end, which was the old value's. A running sidecar uses a new sealed
    value from the next call on. A rotation of the master key that was cut off leaves everything readable; run it
    again to finish it.

    \b
    Examples:
      printf %s "$NEW_TOKEN" | sidecar credentials rotate github
      printf %s "$NEW_TOKEN" | sidecar credentials rotate aws://acme/crm#token --expires 90d
      sidecar credentials rotate --master
    """
    refuse(more)
    if master == (reference is not None):
        raise click.UsageError("give either REFERENCE, or --master")
    if reference is None:
        key, count = SealedFolder(*places(where)).rotate_master()
        click.echo(f"The master key is now {key}; {count} credentials were wrapped anew.", err=True)
        return
    about = _stored(named(reference), terms(kind, expires, rotate_days), where, there=True)
    click.echo(f"Rotated {about.reference}: version {about.version}. {_holds(about.reference)}", err=True)


@credentials.command()
@click.argument("reference", metavar="REFERENCE")
@terms_options
@click.option("--never-expires", is_flag=True, help="Nobody says any more when it ends.")
@click.option("--no-rotation", is_flag=True, help="Nobody promises any more to rotate it.")
@places_options
def update(
    reference: str,
    kind: str | None,
    expires: int | None,
    rotate_days: int | None,
    never_expires: bool,
    no_rotation: bool,
    **where: str | None,
) -> None:
    """Say something else of the credential REFERENCE; its value and its version stay.

    \b
    Examples:
      sidecar credentials update github --expires 2027-03-01 --rotate-days 30
      sidecar credentials update vault://secret/acme/crm#token --never-expires
    """
    at, given = named(reference), terms(kind, expires, rotate_days)
    if given == Terms() and not (never_expires or no_rotation):
        raise click.UsageError("say what is to change: --kind, --expires, --rotate-days, or their end")
    if (expires and never_expires) or (rotate_days and no_rotation):
        raise click.UsageError("it cannot both have an end, or a rotation, and not")

    async def work() -> About:
        async with opened(where, at.scheme) as store:
            before = await store.about(at)
            kept = Terms(
                kind=kind or before.kind,
                expires=None if never_expires else expires or before.expires,
                rotate_days=None if no_rotation else rotate_days or before.rotate_days,
            )
            return await store.amend(at, kept, before.version)

    about = done(work())
    click.echo(f"Updated {about.reference}, version {about.version}. {_holds(about.reference)}", err=True)


@credentials.command()
@click.argument("reference", metavar="REFERENCE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@places_options
def delete(reference: str, yes: bool, **where: str | None) -> None:
    """Delete the credential REFERENCE. Calls that need it are refused from then on.

    Of a secret with several fields one is taken out, in a new version; vault://PATH and aws://NAME without a field
    are the whole secret. Who operates a Vault, or AWS, can bring a deleted secret back for a time.

    \b
    Examples:
      sidecar credentials delete github
      sidecar credentials delete vault://secret/acme/crm --yes
    """
    at = named(reference)

    async def work() -> None:
        async with opened(where, at.scheme) as store:
            about = await store.about(at)
            if not yes:
                click.confirm(f"Delete {at}? Its value cannot be brought back here.", abort=True, err=True)
            await store.delete(at, about.version)

    done(work())
    click.echo(f"Deleted {at}. {_holds(at)}", err=True)


@credentials.command("new-key")
@places_options
def new_key(**where: str | None) -> None:
    """Make the master key of a sealed store that has none. An existing key is never replaced.

    Keep a copy of the key file away from the store: credentials sealed under a lost key are lost.

    \b
    Examples:
      sidecar credentials new-key
      sidecar credentials new-key --directory /var/lib/sidecar/store --key-file /run/keys/master.key
    """
    at = places(where)
    make_private_directory(at.directory)
    if not at.key_file.exists() and sealed_files(at.directory):
        raise Misconfigured(
            f"{at.directory} holds credentials that are sealed under another master key: restore that key to "
            f"{at.key_file}, or move the credentials away"
        )
    at.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = master_key.create(at.key_file)
    click.echo(f"Wrote the master key {key.id} to {at.key_file}", err=True)


def _stored(at: Reference, given: Terms, where: dict[str, Any], *, there: bool) -> About:
    """Store a value over what is there; ``there``: something must be."""

    async def work() -> About:
        async with opened(where, at.scheme) as store:
            before = await _found(store, at, there=there)
            kept = given if before is None else rotated(before, given)
            return await store.store(at, value(kept.kind), kept, before.version if before else None)

    return done(work())


async def _found(store: CredentialStore, at: Reference, *, there: bool) -> About | None:
    try:
        return await store.about(at)
    except Refused as refused:
        if there or refused.code != "unknown_credential":
            raise
    return None


def _holds(at: Reference) -> str:
    """From when a sidecar that runs knows of a change."""
    if at.scheme == SEALED:
        return "A running sidecar knows of it from the next call on."
    return "A running sidecar knows of it when it fetches the secret again: within max_age_seconds, or at a 401."
