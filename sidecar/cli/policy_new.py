"""``sidecar policy new``: a policy to begin with, which passes every check as it stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Final

import click
import orjson

from sidecar.errors import Misconfigured

_RULES: Final = """\
# Rules of this tenant; all are optional. A deny wins over every grant; allow stands in for a missing grant and lifts
# no denial; obligations are what the sidecar must do when it allows.
package sidecar.custom

# METADATA
# title: Nothing is written at weekends
# custom:
#   reason_codes: [weekend]
deny contains {
	"code": "weekend",
	"message": "Nothing is written at weekends; ask again on Monday.",
} if {
	input.effect == "write"
	input.time.weekday >= 5
}

# METADATA
# title: What goes with an allow
obligations := {"timeout_ms": 10000}
"""

_TESTS: Final = """\
package sidecar.custom_test

import data.sidecar.custom

test_nothing_is_written_on_a_sunday if {
	some reason in custom.deny with input as {"effect": "write", "time": {"weekday": 6}}
	reason.code == "weekend"
}

test_reading_goes_on if custom.deny == set() with input as {"effect": "read", "time": {"weekday": 6}}

test_an_answer_is_waited_for if custom.obligations.timeout_ms == 10000
"""

_DATA: Final = """\
# Who may do what. "connector/operation" and "connector/*" let reads through; the long form says more.
sidecar:
  grants:
    {tenant}:
      principals:
        {agent}:
          - {reads}
          - connector: {connector}
            operations: [update]
            effects: [write]
            hours: ["08:00", "18:00"] # UTC
"""

_CASES: Final = """\
# What must be decided, call by call: what is not said is a plain read on a Monday at noon.
input:
  tenant: {tenant}
  principal: {{id: {agent}}}
  connector: {{id: {connector}}}
cases:
  - name: the agent reads
    expect: allow
    reasons: []
    obligations: {{timeout_ms: 10000}}
  - name: another agent does not
    input: {{principal: {{id: somebody-else}}}}
    expect: deny
    reasons: [no_grant]
  - name: the agent updates in office hours
    input: {{effect: write, operation: {{id: update}}}}
    expect: allow
  - name: not at night
    input: {{effect: write, operation: {{id: update}}, time: {{hour: 3}}}}
    expect: deny
    reasons: [time_not_granted]
  - name: not at weekends
    input: {{effect: write, operation: {{id: update}}, time: {{weekday: 5}}}}
    expect: deny
    reasons: [weekend]
  - name: nothing else is written
    input: {{effect: write, operation: {{id: remove}}}}
    expect: deny
    reasons: [effect_not_granted]
"""


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default="policy")
@click.option("--tenant", default="acme", show_default=True, help="The sidecar's tenant.")
@click.option("--agent", default="my-agent", show_default=True, help="The principal that is granted something.")
@click.option("--connector", default="orders", show_default=True, help="The connector it is granted.")
def new(directory: Path, tenant: str, agent: str, connector: str) -> None:
    """Write a policy to begin with into DIRECTORY: a rule, grants, tests in Rego and decision cases in YAML.

    It passes check, lint and test as it stands. Nothing that is there is overwritten.

    \b
    Examples:
      sidecar policy new
      sidecar policy new policy --tenant acme --agent reporting --connector crm
    """
    # Ids are quoted as JSON, which is YAML too, so that none of them changes the file's form.
    quoted = {
        name: orjson.dumps(value).decode()
        for name, value in {
            "tenant": tenant,
            "agent": agent,
            "connector": connector,
            "reads": f"{connector}/*",
        }.items()
    }
    files = {
        "custom.rego": _RULES,
        "custom_test.rego": _TESTS,
        "data.yaml": _DATA.format(**quoted),
        "cases.yaml": _CASES.format(**quoted),
    }
    write_files(directory, files)
    folder = quote(str(directory))
    click.echo(f"next: sidecar policy check {folder} && sidecar policy test {folder}", err=True)


def require_absent(folder: Path, names: Iterable[str]) -> None:
    """Raises ``Misconfigured`` with the names that are there already."""
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        raise Misconfigured(f"{folder} already has {', '.join(there)}; name another folder")


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by name into a folder that has none of them, and say so. Raises ``Misconfigured``, ``OSError``."""
    require_absent(folder, files)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        click.echo(f"wrote {path}", err=True)
