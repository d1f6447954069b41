"""Which store a command of ``sidecar credentials`` is about, and how it is asked: without a running sidecar."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from sidecar.adapters.credentials.sealed.administration import SealedCredentials
from sidecar.cli.show import config_option
from sidecar.config.load import Loaded, read
from sidecar.config.sections import StoreSection
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Reference
from sidecar.ports import CredentialStore
from sidecar.rules.references import check_identifier, parse_stored

SEALED: Final = "encrypted"
SCHEMES: Final = (SEALED, "vault", "aws", "env")

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")


class Places(NamedTuple):
    """Where the sealed store and its master key are."""

    directory: Path
    key_file: Path


class Quiet:
    """An ``Observer`` for one question: what goes wrong is the command's answer."""

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """Nothing."""


def places_options(command: Command) -> Command:
    """The options that say where the stores are, as ``where``."""
    key_file = click.option("--key-file", type=click.Path(dir_okay=False), help="The master key; over -c.")
    directory = click.option("--directory", type=click.Path(file_okay=False), help="The sealed store; over -c.")
    return config_option(directory(key_file(command)))


def named(text: str) -> Reference:
    """What a command's REFERENCE names; an id alone is one of the sealed store. Raises ``Misconfigured``."""
    if "://" in text:
        return parse_stored(text)
    check_identifier(text)
    return Reference(SEALED, text)


def places(where: dict[str, Any]) -> Places:
    """Flags over the configuration; a folder without ``sidecar.yaml`` has the store where its defaults say."""
    directory, key_file = where["directory"], where["key_file"]
    if directory and key_file:
        return Places(Path(directory), Path(key_file))
    loaded = _loaded(where)
    section = loaded.config.store if loaded else StoreSection()
    beside = loaded.directory if loaded else Path(where["config"]).absolute().parent
    return Places(Path(directory or beside / section.directory), Path(key_file or beside / section.key_file))


def configured(where: dict[str, Any]) -> list[str]:
    """The schemes to look at where a command names none: the remote stores that are configured, and the sealed one
    where it is there or is the only one.
    """
    if where["directory"] and where["key_file"]:
        return [SEALED]
    loaded = _loaded(where)
    sections: dict[str, Any] = {}
    if loaded is not None:
        store = loaded.config.store
        sections = {"vault": loaded.config.vault, "aws": loaded.config.aws, "env": store.allow_environment or None}
    others = [scheme for scheme in SCHEMES if sections.get(scheme) is not None]
    at = places(where)
    return [SEALED, *others] if not others or at.directory.exists() or at.key_file.exists() else others


@asynccontextmanager
async def opened(where: dict[str, Any], scheme: str) -> AsyncIterator[CredentialStore]:
    """The store of a scheme. Raises ``Misconfigured`` where it is not configured."""
    if scheme == SEALED:
        yield SealedCredentials(*places(where))
        return
    from sidecar.adapters.clock import SystemClock  # noqa: PLC0415  # the sealed store needs none of these
    from sidecar.adapters.credentials.remotes import RemoteSources  # noqa: PLC0415  # the same
    from sidecar.wiring import SOURCES, STORES  # noqa: PLC0415  # every part of a sidecar, 100 ms

    loaded = read(Path(where["config"]), os.environ, {})
    remote = RemoteSources(SystemClock(), Quiet())
    SOURCES[scheme](loaded.config, loaded.directory, remote)  # says what is missing where it is not configured
    try:
        yield STORES[scheme](loaded.config, loaded.directory, remote)
    finally:
        await remote.close()


def done(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work. What is wrong with the machine's own files is said as it is: its owner asked."""
    try:
        return asyncio.run(work)
    except Unavailable as error:
        if isinstance(error.__cause__, Misconfigured):
            raise error.__cause__ from None
        raise


def _loaded(where: dict[str, Any]) -> Loaded | None:
    config = Path(where["config"])
    if config.exists() or click.get_current_context().get_parameter_source("config") is not ParameterSource.DEFAULT:
        return read(config, os.environ, {})
    return None
