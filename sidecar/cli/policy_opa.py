"""The built OPA, asked from a command: what it says is shown as it is, its exit codes are ours.

OPA ends with 2 where a test fails, which means 1 here.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import orjson

from sidecar.adapters.policy.files import library_directory
from sidecar.adapters.policy.library import opa_executable
from sidecar.cli import FAILED
from sidecar.config.schemas import schema

_TESTS: Final = shutil.ignore_patterns("*_test.rego")

directory_argument = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default="policy"
)


def opa(*arguments: str) -> bool:
    """Run the built OPA, show its stdout as it comes, and return whether there was any; its stderr is ours.

    Raises ``click.exceptions.Exit`` with 1 when it fails.
    """
    said = False
    command = [str(opa_executable()), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:  # noqa: S603  # our own, no shell
        assert running.stdout is not None
        for line in running.stdout:
            said = True
            click.echo(line, nl=False)
    if running.returncode:
        raise click.exceptions.Exit(FAILED)
    return said


def asked(*arguments: str) -> tuple[int, Any]:
    """Run the built OPA for a JSON answer: its exit code, and the answer (None where it gave none)."""
    command = [str(opa_executable()), *arguments]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603  # our own, no shell
    try:
        return ran.returncode, orjson.loads(ran.stdout)
    except orjson.JSONDecodeError:
        return ran.returncode, None


@contextmanager
def shipped_rules() -> Iterator[Path]:
    """A copy of the shipped rules without their own tests, which hold for them alone and not beside others."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(library_directory(), Path(folder) / "rego", ignore=_TESTS))


@contextmanager
def input_schema() -> Iterator[Path]:
    """The schema of ``input`` as a file.

    One file is the schema of every ``input``; in a folder it would hold only where a rule is annotated with it.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(orjson.dumps(schema("decision-input")))
        file.flush()
        yield Path(file.name)
