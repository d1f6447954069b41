"""``sidecar policy check``: what a sidecar would refuse to load, and what it would misunderstand."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.adapters.policy.files import library_directory, read_policy, source_of
from sidecar.adapters.policy.library import library
from sidecar.cli.policy_opa import directory_argument, input_schema, opa


@click.command()
@directory_argument
def check(directory: Path) -> None:
    """Compile DIRECTORY with the shipped rules, as a sidecar would load it.

    Stricter than a sidecar in one thing: a field that the input does not have is an error.

    \b
    Examples:
      sidecar policy check
      sidecar policy check /etc/sidecar/policy
    """
    with input_schema() as file:
        opa("check", "--strict", "--schema", str(file), str(directory), str(library_directory()))
    # OPA's own check knows functions that no policy of a sidecar may call, and reads other files than a sidecar does.
    engine = library()
    engine.release(engine.load(source_of(read_policy(directory))).handle)
