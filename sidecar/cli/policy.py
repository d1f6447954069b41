"""``sidecar policy``: check and test a policy with the OPA that the sidecar carries."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import click
import orjson

from sidecar.adapters.policy.files import library_directory, read_policy, source_of
from sidecar.adapters.policy.library import library, opa_executable
from sidecar.cli import FAILED
from sidecar.config.schemas import schema

_TESTS: Final = shutil.ignore_patterns("*_test.rego")
_directory = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default="policy"
)


@click.group(epilog="Exit codes: 0 good, 1 it does not compile, a test fails or there is none, 2 wrong command line.")
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
    """Compile DIRECTORY with the shipped rules, as a sidecar would load it.

    Stricter than a sidecar in one thing: a field that the input does not have is an error.

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
    # OPA's own check knows functions that no policy of a sidecar may call, and reads other files than a sidecar does.
    engine = library()
    engine.release(engine.load(source_of(read_policy(directory))).handle)


@policy.command()
@_directory
@click.option("--verbose", is_flag=True, help="Name every test.")
def test(directory: Path, verbose: bool) -> None:
    """Run the tests in DIRECTORY against its rules and the shipped ones.

    \b
    Examples:
      sidecar policy test
      sidecar policy test policy --verbose
    """
    with tempfile.TemporaryDirectory() as shipped:
        # Without their own tests, which hold for the shipped rules alone and not beside what DIRECTORY allows.
        rules = shutil.copytree(library_directory(), Path(shipped) / "rego", ignore=_TESTS)
        said = _opa("test", *(["--verbose"] if verbose else []), str(directory), str(rules))
    if not said:  # what ran is counted on stdout, so nothing ran
        click.echo(f"sidecar: no tests in {directory}: rules in *_test.rego whose names begin with test_", err=True)
        raise click.exceptions.Exit(FAILED)


def _opa(*arguments: str) -> bool:
    """Run the built OPA, show what it says as it is, and return whether stdout had anything.

    It ends with 2 where a test fails, which means 1 here.
    """
    said = False
    command = [str(opa_executable()), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as opa:  # noqa: S603  # our own, no shell
        assert opa.stdout is not None
        for line in opa.stdout:
            said = True
            click.echo(line, nl=False)
    if opa.returncode:
        raise click.exceptions.Exit(FAILED)
    return said
