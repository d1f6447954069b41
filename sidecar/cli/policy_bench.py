"""``sidecar policy bench``: how long one decision takes in the engine that decides in production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from sidecar.adapters.policy.files import read_policy
from sidecar.adapters.policy.trial import Trial
from sidecar.cli.policy_check import require_sound
from sidecar.cli.policy_eval import decided
from sidecar.cli.policy_opa import content_of, directory_argument
from sidecar.cli.policy_tests import cases_of
from sidecar.cli.show import data, output_option, table
from sidecar.config.decision_cases import BASE, read_input


@click.command()
@directory_argument
@click.option("-i", "--input", "source", type=click.File("rb"), help="One call to decide instead of the cases.")
@click.option("--count", type=click.IntRange(10, 1_000_000), default=5000, show_default=True, help="Decisions each.")
@output_option
def bench(directory: Path, source: Any, count: int, output: str) -> None:
    """Time the decisions of DIRECTORY and the shipped rules, one after the other, without a cache.

    Each decision case is timed by itself; without cases, and without an input, a plain call is. A sidecar gives a
    decision 5 ms on its event loop unless the configuration says otherwise (policy.quick_ms).

    \b
    Examples:
      sidecar policy bench
      sidecar policy bench policy -i call.yaml --count 50000
      sidecar policy bench policy -o json
    """
    require_sound(directory)
    with Trial(read_policy(directory)) as trial:
        rows = [
            {"call": name, **_measured(trial, document, count)} for name, document in _documents(directory, source)
        ]
    if output != "table":
        data({"count": count, "detached": trial.facts.detached, "decisions": rows}, output)
        return
    table(
        ("call", "decision", "p50 us", "p99 us", "mean ns"),
        [
            (row["call"], row["decision"], f"{row['p50_ns'] / 1e3:.1f}", f"{row['p99_ns'] / 1e3:.1f}", row["mean_ns"])
            for row in rows
        ],
    )
    if trial.facts.detached:
        click.echo("Uses builtins that cannot be interrupted, so each decision changes threads: slower.", err=True)


def _documents(directory: Path, source: Any) -> list[tuple[str, bytes]]:
    if source is not None:
        content, name = content_of(source)
        return [(name, msgspec.json.encode(read_input(content, name)))]
    cases = [(case.name, case.document()) for case in cases_of(directory)]
    return cases or [("a plain call", msgspec.json.encode(BASE))]


def _measured(trial: Trial, document: bytes, count: int) -> dict[str, Any]:
    decision = decided(trial.answer(document))
    taken = sorted(trial.time(document, count))
    return {
        "decision": "allow" if decision.allow else "deny",
        "p50_ns": taken[len(taken) // 2],
        "p99_ns": taken[len(taken) * 99 // 100],
        "mean_ns": sum(taken) // len(taken),
    }
