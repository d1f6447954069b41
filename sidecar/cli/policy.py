"""``sidecar policy``: check and test a policy with the OPA that the sidecar carries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import orjson

from sidecar.adapters.policy.files import library_directory
from sidecar.adapters.policy.library import opa_executable
from sidecar.cli import FAILED
from sidecar.config.schemas import schema

_directory = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default="policy"
)


@click.group(epilog="Exit codes: 0 good, 1 it does not compile or a test fails, 2 wrong command line.")
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
    """Compile DIRECTORY with the shipped rules; a field that the input does not have is an error.

    \b
    Examples:
      sidecar policy check
      sidecar policy check /etc/sidecar/policy
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        # One file is the schema of every `input`; in a folder it would hold only where a rule is annotated with it.
        file.write(orjson.dumps(schema("decision-input")))
        file.flush()
        _opa("check", "--strict", "--schema", file.name, str(directory), str(library_directory()))


@policy.command()
@_directory
@click.option("--verbose", is_flag=True, help="Name every test.")
def test(directory: Path, verbose: bool) -> None:
    """Run the tests in DIRECTORY together with the shipped rules.

    \b
    Examples:
      sidecar policy test
      sidecar policy test policy --verbose
    """
    _opa("test", *(["--verbose"] if verbose else []), str(directory), str(library_directory()))


def _opa(*arguments: str) -> None:
    """Run the built OPA; its output is shown as it is. It ends with 2 where a test fails, which means 1 here."""
    sys.stdout.flush()
    done = subprocess.run([opa_executable(), *arguments], check=False)  # noqa: S603  # our own, no shell
    raise click.exceptions.Exit(FAILED if done.returncode else 0)
