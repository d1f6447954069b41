"""The built OPA, asked from a command, and what the commands of ``sidecar policy`` share.

What OPA says is shown as it is; its exit codes become ours (it ends with 2 where a test fails, which means 1 here).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any, Final

import click
import orjson

from sidecar.adapters.policy.files import library_directory, read_policy
from sidecar.adapters.policy.library import opa_executable
from sidecar.cli import FAILED
from sidecar.config.schemas import schema
from sidecar.errors import Misconfigured

_NOT_RULES: Final = shutil.ignore_patterns("*_test.rego", ".*")


class _Folder(click.Path):
    """A policy's folder; who has none is told how to get one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of a folder that exists."""
        if not Path(value).exists():
            self.fail(
                f"Directory {str(value)!r} does not exist; `sidecar policy new {quote(str(value))}` writes one.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


directory_argument = click.argument(
    "directory", type=_Folder(exists=True, file_okay=False, path_type=Path), default="policy"
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
    """Run the built OPA for a JSON answer: its exit code, and the answer.

    OPA writes errors as JSON to stderr. Raises ``Misconfigured`` with its words where there is no JSON at all.
    """
    command = [str(opa_executable()), *arguments]
    ran = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  # our own, no shell
    for said in (ran.stdout, ran.stderr):
        with suppress(orjson.JSONDecodeError):
            return ran.returncode, orjson.loads(said)
    if ran.returncode == 0:
        return 0, None
    words = (ran.stderr or ran.stdout).decode(errors="replace").strip()
    raise Misconfigured(f"opa {arguments[0]} failed: {words}")


@contextmanager
def shipped_rules() -> Iterator[Path]:
    """A copy of the shipped rules alone: their own tests hold for them, and not beside what a customer allows."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(library_directory(), Path(folder) / "rego", ignore=_NOT_RULES))


@contextmanager
def input_schema() -> Iterator[Path]:
    """The schema of ``input`` as a file.

    One file is the schema of every ``input``; in a folder it would hold only where a rule is annotated with it.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(orjson.dumps(schema("decision-input")))
        file.flush()
        yield Path(file.name)


@contextmanager
def no_network() -> Iterator[Path]:
    """OPA's capabilities without hosts, as a file: else a schema in a rule's annotation may refer to any address."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(orjson.dumps(asked("capabilities", "--current")[1] | {"allow_net": []}))
        file.flush()
        yield Path(file.name)


@contextmanager
def staged(directory: Path, *, tests: bool = False) -> Iterator[list[str]]:
    """What OPA's commands are given instead of the directory: exactly what a sidecar loads, and the tests on demand.

    Modules keep their names; the data is what a sidecar reads (OPA would take every YAML file for data, and in
    YAML 1.1). Raises ``Misconfigured`` where a file cannot be read.
    """
    with shipped_rules() as rules:
        document = rules.parent / "data.json"
        document.write_text(json.dumps(read_policy(directory).data))  # orjson has no integers beyond 64 bits
        modules = [path for path in files_of(directory, "*.rego") if tests or not path.name.endswith("_test.rego")]
        yield [*map(str, modules), str(document), str(rules)]


def content_of(source: Any) -> tuple[bytes, str]:
    """What an input option names: its content, and its name in messages."""
    name = getattr(source, "name", "<stdin>")
    return source.read(), "standard input" if name == "<stdin>" else name


def files_of(directory: Path, *patterns: str) -> list[Path]:
    """Files below the directory by pattern, in order; those behind a dot are not part of a policy."""
    found = {path for pattern in patterns for path in directory.rglob(pattern) if path.is_file()}
    return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(directory).parts))
