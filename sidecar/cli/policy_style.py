"""``sidecar policy fmt`` and ``lint``: how Rego is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import click

from sidecar.cli import FAILED
from sidecar.cli.policy_opa import directory_argument, opa
from sidecar.errors import Misconfigured

REGAL: Final = "0.42.0"
# Rules beside the shipped ones: these hold the entry point, and the folder is as flat as its author likes.
_SETTINGS: Final = """\
rules:
  idiomatic:
    directory-package-mismatch: {level: ignore}
    no-defined-entrypoint: {level: ignore}
  imports:
    unresolved-reference: {level: error, except-paths: [data.sidecar.*, data.sidecar.**]}
"""
_INSTALL: Final = f"go install github.com/open-policy-agent/regal@v{REGAL}"


@click.command()
@directory_argument
@click.option("--check", "only_check", is_flag=True, help="Change nothing; list the files that would change.")
@click.option("--diff", is_flag=True, help="Change nothing; show what would change.")
def fmt(directory: Path, only_check: bool, diff: bool) -> None:
    """Format the Rego in DIRECTORY, and name the files that changed.

    With --check or --diff the exit code is 1 where a file is not formatted.

    \b
    Examples:
      sidecar policy fmt
      sidecar policy fmt policy --diff
    """
    if diff:
        opa("fmt", "--diff", "--fail", str(directory))
    elif only_check:
        opa("fmt", "--list", "--fail", str(directory))
    else:
        opa("fmt", "--list", str(directory))
        opa("fmt", "--write", str(directory))


@click.command()
@directory_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(("pretty", "compact", "json", "github", "sarif")),
    default="pretty",
    show_default=True,
    help="How to print.",
)
def lint(directory: Path, output: str) -> None:
    """Lint the Rego in DIRECTORY with regal, which must be installed.

    A .regal folder in DIRECTORY or above it counts; without one, settings that fit rules beside the shipped ones.

    \b
    Examples:
      sidecar policy lint
      sidecar policy lint policy -o json
    """
    command = [str(regal()), "lint", "--format", output, "--no-color", str(directory)]
    with tempfile.NamedTemporaryFile(suffix=".yaml") as settings:
        settings.write(_SETTINGS.encode())
        settings.flush()
        if not any((folder / ".regal").is_dir() for folder in (directory.resolve(), *directory.resolve().parents)):
            command += ["--config-file", settings.name]
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603  # the linter, no shell
    click.echo(ran.stdout, nl=False)
    if ran.returncode:
        raise click.exceptions.Exit(FAILED)


def regal() -> Path:
    """The linter: on PATH, or what ``make fixtures`` built. Raises ``Misconfigured`` with how it comes."""
    named = shutil.which("regal")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    built = cache / "policy-sidecar" / "fixtures" / f"regal-{REGAL}"
    if os.access(built, os.X_OK):
        return built
    raise Misconfigured(f"regal is not installed; `{_INSTALL}` brings it (in a checkout: `make fixtures`)")
