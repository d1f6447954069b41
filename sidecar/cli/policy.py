"""``sidecar policy``: check and test a policy with the OPA that the sidecar carries."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import click
import orjson

from sidecar.adapters.policy.files import library_directory
from sidecar.adapters.policy.library import opa_executable
from sidecar.config.schemas import schema

_directory = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default="policy"
)


@click.group()
def policy() -> None:
    """Check and test policies.

    \b
    Examples:
      sidecar policy check policy
      sidecar policy test policy
    """


@policy.command()
@_directory
def check(directory: Path) -> None:
    """Compile DIRECTORY with the shipped rules; a field that the input does not have is an error."""
    with tempfile.TemporaryDirectory() as schemas:
        (Path(schemas) / "input.json").write_bytes(orjson.dumps(schema("decision-input")))
        _opa("check", "--strict", "--schema", schemas, str(directory), str(library_directory()))


@policy.command()
@_directory
@click.option("--verbose", is_flag=True, help="Name every test.")
def test(directory: Path, verbose: bool) -> None:
    """Run the tests in DIRECTORY together with the shipped rules."""
    _opa("test", *(["--verbose"] if verbose else []), str(directory), str(library_directory()))


def _opa(*arguments: str) -> None:
    """Run the built OPA; its output is shown as it is, its exit code is ours."""
    done = subprocess.run([opa_executable(), *arguments], check=False)  # noqa: S603  # our own, no shell
    raise click.exceptions.Exit(done.returncode)
