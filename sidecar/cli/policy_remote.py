"""``sidecar policy push`` and ``status``: the policy of an OPA server that decides instead of the sidecar's own."""

from __future__ import annotations

import stat
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from sidecar.adapters.policy.embedded import compiled
from sidecar.adapters.policy.files import read_policy
from sidecar.adapters.policy.remote import RemoteOpa
from sidecar.adapters.policy.remote_client import remote_client
from sidecar.cli import FAILED
from sidecar.cli.show import data, output_option, table
from sidecar.config.authority import base_url
from sidecar.config.policy_sections import PolicyServer
from sidecar.errors import Misconfigured
from sidecar.model.hosts import BaseUrl
from sidecar.model.secret import SHORTEST, Secret

TOKEN_LIMIT: Final = 1 << 16  # bytes
Command = TypeVar("Command", bound=Callable[..., Any])
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def _server_options(command: Command) -> Command:
    for option in reversed(
        (
            click.option("--server", required=True, metavar="URL", help="https://host[:port]; http:// on loopback."),
            click.option("--token-file", type=_file, help="File with the bearer token, not readable by others."),
            click.option("--ca", type=_file, help="PEM file of the authorities to trust instead of the system's."),
            click.option("--cert", type=_file, help="PEM file of a client certificate; with --key."),
            click.option("--key", type=_file, help="PEM file of its private key."),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_server_options
@click.option("--library/--no-library", default=True, show_default=True, help="Push the shipped rules as well.")
@output_option
def push(directory: Path, library: bool, output: str, **server: Any) -> None:
    """Put the policy of DIRECTORY into an OPA server, whole or not at all.

    It is compiled here first. While it is pushed the server names no revision, so sidecars deny; what the server
    refuses leaves the old policy deciding. Data under the top names of DIRECTORY's data is replaced. The revision is
    the one that a sidecar would have for the same folder.

    \b
    Examples:
      sidecar policy push policy --server http://127.0.0.1:8181
      sidecar policy push policy --server https://opa.example:8181 --token-file token --ca ca.pem
    """
    files = read_policy(directory, with_library=library)
    compiled(files)
    pushed = _remote(**server).push(files)
    if output == "table":
        table(("module", "is"), list(pushed.modules.items()))
    else:
        data({"revision": pushed.revision, "modules": pushed.modules}, output)
    click.echo(f"Deciding now: {pushed.revision}", err=True)


@click.command()
@_server_options
@click.option(
    "--maximum-age",
    type=click.FloatRange(min=0, min_open=True),
    default=PolicyServer(url="").maximum_age_seconds,
    show_default=True,
    help="Seconds since the server last confirmed its bundles.",
)
@output_option
def status(maximum_age: float, output: str, **server: Any) -> None:
    """Show what an OPA server holds, and whether a sidecar would let it decide. Where not, the exit code is 1.

    \b
    Examples:
      sidecar policy status --server http://127.0.0.1:8181
      sidecar policy status --server https://opa.example:8181 --token-file token -o json
    """
    holding = _remote(**server).holding(maximum_age)
    if output == "table":
        rows = [("decides", "yes" if holding.problem is None else f"no: {holding.problem}")]
        rows += [("revision", holding.revision or "")]
        rows += [(f"bundle {name}", revision or "no revision") for name, revision in holding.bundles.items()]
        rows += [("module", name) for name in holding.modules]
        table(("what", "is"), rows)
    else:
        data({"decides": holding.problem is None, **holding._asdict()}, output)
    if holding.problem is not None:
        raise click.exceptions.Exit(FAILED)


def _remote(server: str, token_file: Path | None, ca: Path | None, cert: Path | None, key: Path | None) -> RemoteOpa:
    base = _base(server)
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key belong together")
    if base.scheme == "http" and (ca or cert):
        raise click.UsageError("--ca, --cert and --key are for https")
    pair = (cert, key) if cert is not None and key is not None else None
    return RemoteOpa(remote_client(base, _token(token_file) if token_file else None, ca, pair))


def _base(server: str) -> BaseUrl:
    """Raises ``Misconfigured`` for a server that cannot be managed, or not safely."""
    if server.startswith("unix:"):
        raise Misconfigured(
            "the client of this command has no Unix sockets: start OPA with a second --addr on a loopback address "
            "(and a token), or let it download bundles"
        )
    try:
        base = base_url(server)
    except ValueError as error:
        raise Misconfigured(f"--server: {error}") from None
    if base.path_prefix.strip("/"):
        raise Misconfigured("--server: a server has no path, such as https://opa.example:8181")
    if base.scheme == "http" and not _is_loopback(base.host):
        raise Misconfigured("--server: a policy and its token never travel over plain http: use https")
    return base


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _token(file: Path) -> Secret:
    """The token in a file, without its line end. Raises ``Misconfigured``, which never shows it."""
    if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise Misconfigured(f"everybody may read {file}; chmod 600")
    with file.open("rb") as opened:
        plain = opened.read(TOKEN_LIMIT + 1).removesuffix(b"\n").removesuffix(b"\r")
    if not SHORTEST <= len(plain) <= TOKEN_LIMIT or not plain.isascii() or any(byte <= 32 for byte in plain):
        raise Misconfigured(f"{file} holds no token: one line of visible ASCII")
    return Secret(plain)
