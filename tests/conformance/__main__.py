"""``python -m tests.conformance`` (make conformance): how far the engine is OPA, counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
from rich.console import Console

from sidecar.cli import show
from tests.conformance import caching, cases, differential
from tests.fixtures.programs import build

_INPUTS: Final = 1800  # for each of the policies: over a hundred thousand in all
_GENERATED: Final = 2000
Tell = Callable[[str], None]


@click.command(epilog="Exit codes: 0 as expected, 1 a case that should pass fails, or two answers differ.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), help="By default a table on a terminal.")
def main(output: str | None) -> None:
    """Run OPA's own cases, the comparison with an OPA server, and that of the decision cache.

    \b
    Examples:
      make conformance
      make conformance ARGS="-o json"
    """
    build(cases.PROGRAM)
    with _telling() as tell:
        counted = [_opas_cases(tell), _differential(tell), _cache(tell), _generated(tell)]
    if (output or ("table" if sys.stdout.isatty() else "json")) == "json":
        show.data(counted, "json")
    else:
        _show(counted)
    if any(one["unexpected"] for one in counted):
        raise click.exceptions.Exit(1)


def _opas_cases(tell: Tell) -> dict[str, Any]:
    tell("OPA's own cases")
    outcomes = [cases.run(case) for case in cases.read()]
    failed = [outcome for outcome in outcomes if outcome.why is not None]
    return {
        "compared": "OPA's own cases",
        "count": len(outcomes),
        "equal": len(outcomes) - len(failed),
        "notes": {outcome.name: cases.NOT_PASSED.get(outcome.name, outcome.why) for outcome in failed},
        "unexpected": [outcome.name for outcome in failed if outcome.name not in cases.NOT_PASSED],
    }


def _differential(tell: Tell) -> dict[str, Any]:
    found = differential.compare(_INPUTS, lambda name: tell(f"beside an OPA server: {name}"))
    return {
        "compared": "Embedded engine and OPA server",
        "count": found.compared,
        "equal": found.compared - len(found.differences),
        "notes": {"undefined": f"{found.undefined} inputs", "failed in both": f"{found.failed} inputs"},
        "unexpected": found.differences,
    }


def _cache(tell: Tell) -> dict[str, Any]:
    made = caching.compare_all(lambda name: tell(f"from the cache: {name}"))
    return {
        "compared": "Cached and fresh decisions",
        "count": made.inputs,
        "equal": made.inputs - len(made.differences),
        "notes": {"from the cache": f"{made.hits / made.inputs:.0%}"},
        "unexpected": made.differences,
    }


def _generated(tell: Tell) -> dict[str, Any]:
    made, policies = caching.compare_generated(_GENERATED, lambda name: tell(f"from the cache: {name}"))
    return {
        "compared": "The same of generated policies",
        "count": made.inputs,
        "equal": made.inputs - len(made.differences),
        "notes": {"from the cache": f"{made.hits / made.inputs:.0%}", "policies": f"{policies}"},
        "unexpected": made.differences,
    }


def _show(counted: list[dict[str, Any]]) -> None:
    show.table(
        ["compared", "count", "equal"],
        [[one["compared"], f"{one['count']:,}", f"{one['equal']:,}"] for one in counted],
    )
    click.echo()
    notes = [[one["compared"], name, text] for one in counted for name, text in one["notes"].items()]
    show.table(["compared", "note", ""], notes)
    for one in counted:
        for text in one["unexpected"]:
            click.echo(f"unexpected: {text}", err=True)


@contextmanager
def _telling() -> Iterator[Tell]:
    """What is going on, on stderr, while somebody looks."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting") as status:
        yield status.update


if __name__ == "__main__":
    main()
