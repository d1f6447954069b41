"""``sidecar policy build``, ``new-key`` and ``opa``: a policy as one signed file, and OPA's own commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import click
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sidecar.adapters.policy.files import read_policy
from sidecar.adapters.policy.library import opa_executable
from sidecar.cli import FAILED
from sidecar.cli.policy_check import require_sound
from sidecar.cli.policy_opa import directory_argument, files_of
from sidecar.errors import Misconfigured

ALGORITHMS: Final = ("ES256", "RS256")
SEQUENCE_LIMIT: Final = 1 << 53


@click.command()
@directory_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="bundle.tar.gz", show_default=True
)
@click.option("--revision", default="", metavar="NAME", help="What people call it; shown in the history.")
@click.option(
    "--sequence",
    type=click.IntRange(0, SEQUENCE_LIMIT),
    help="Must be above that of every bundle before; by default the time, in seconds.",
)
@click.option(
    "--signing-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of a private key."
)
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default="ES256", show_default=True, help="Of the key.")
@click.option("--key-id", default="release", show_default=True, help="What sidecars call the public key.")
def build(
    directory: Path,
    output: Path,
    revision: str,
    sequence: int | None,
    signing_key: Path | None,
    algorithm: str,
    key_id: str,
) -> None:
    """Make an OPA bundle of DIRECTORY: its rules, their tests and its data, as a sidecar reads them.

    What `sidecar policy check` finds wrong is not built. The shipped rules are not in it: each sidecar has its own.

    \b
    Examples:
      sidecar policy build policy --revision v42
      sidecar policy build policy -o v42.tar.gz --signing-key release.key --key-id release
    """
    require_sound(directory)
    number = int(time.time()) if sequence is None else sequence
    with tempfile.TemporaryDirectory() as work:
        folder, made = Path(work, "bundle"), Path(work, "bundle.tar.gz")
        _lay_out(directory, folder, {"revision": revision, "metadata": {"sequence": number}})
        command = [str(opa_executable()), "build", "--bundle", ".", "--output", str(made)]
        if signing_key is not None:
            command += ["--signing-key", str(signing_key.resolve()), "--signing-alg", algorithm]
            command += ["--verification-key-id", key_id]
        built = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603  # our own, no shell
        if built.returncode:
            words = (built.stderr or built.stdout).decode(errors="replace").strip()
            raise Misconfigured(f"{directory} is not built: {words}")
        _replace(made, output)
    click.echo(f"built {output}: sequence {number}, {'signed' if signing_key else 'not signed'}", err=True)


@click.command()
@click.argument("name", type=click.Path(path_type=Path), default="release")
def new_key(name: Path) -> None:
    """Make a key pair that signs bundles: NAME.key stays with who builds them, NAME.pub goes to sidecars (ES256).

    Nothing that is there is overwritten.

    \b
    Examples:
      sidecar policy new-key
      sidecar policy new-key keys/release-2
    """
    made = generate_private_key(SECP256R1())
    secret = made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for suffix, content, mode in ((".key", secret, 0o600), (".pub", public, 0o644)):
        path = name.with_name(name.name + suffix)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
        except OSError as error:
            raise Misconfigured(f"{path} cannot be written: {error.strerror}") from None
        click.echo(f"wrote {path}", err=True)


@click.command(
    "opa", context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_opa(arguments: tuple[str, ...]) -> None:
    """Run OPA itself, the version that decides: every command and option of its own.

    \b
    Examples:
      sidecar policy opa version
      sidecar policy opa run --server --addr 127.0.0.1:8181
    """
    executable = str(opa_executable())
    os.execv(executable, [executable, *arguments])  # noqa: S606  # our own; its exit code is the command's


def _lay_out(directory: Path, folder: Path, manifest: dict[str, object]) -> None:
    folder.mkdir()
    (folder / ".manifest").write_bytes(orjson.dumps(manifest))
    (folder / "data.json").write_bytes(orjson.dumps(read_policy(directory, with_library=False).data))
    for path in files_of(directory, "*.rego"):
        copy = folder / path.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _replace(made: Path, output: Path) -> None:
    """There whole or not at all: a sidecar may watch the file."""
    fresh = output.with_name(f".{output.name}.new")
    try:
        shutil.copyfile(made, fresh)
        fresh.replace(output)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        click.echo(f"sidecar: {output} cannot be written: {error.strerror}", err=True)
        raise click.exceptions.Exit(FAILED) from None
