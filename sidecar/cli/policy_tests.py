"""``sidecar policy test``: a policy's own tests, in Rego and in YAML."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli import FAILED
from sidecar.cli.policy_opa import directory_argument, opa, shipped_rules


@click.command()
@directory_argument
@click.option("--verbose", is_flag=True, help="Name every test.")
def test(directory: Path, verbose: bool) -> None:
    """Run the tests in DIRECTORY against its rules and the shipped ones.

    \b
    Examples:
      sidecar policy test
      sidecar policy test policy --verbose
    """
    with shipped_rules() as rules:
        said = opa("test", *(["--verbose"] if verbose else []), str(directory), str(rules))
    if not said:  # what ran is counted on stdout, so nothing ran
        click.echo(f"sidecar: no tests in {directory}: rules in *_test.rego whose names begin with test_", err=True)
        raise click.exceptions.Exit(FAILED)
