"""``sidecar policy test`` and ``coverage``: a policy's own tests, in Rego and as YAML cases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import orjson

from sidecar.adapters.policy.files import read_policy
from sidecar.adapters.policy.trial import Trial
from sidecar.cli import FAILED
from sidecar.cli.policy_check import require_sound, warn_of_unread
from sidecar.cli.policy_opa import asked, directory_argument, files_of, opa, staged
from sidecar.cli.show import data, output_option, table
from sidecar.config.decision_cases import Case, Difference, read_cases

CASE_FILES: Final = ("cases.yaml", "*.cases.yaml")
_COLUMNS: Final = ("where", "case", "what", "expected", "got")
Checked = list[tuple[Case, tuple[Difference, ...]]]


@click.command()
@directory_argument
@click.option("--verbose", is_flag=True, help="Name every test and case.")
@output_option
def test(directory: Path, verbose: bool, output: str) -> None:
    """Run the tests in DIRECTORY against its rules and the shipped ones.

    Tests are rules in *_test.rego whose names begin with test_, and decision cases in cases.yaml or *.cases.yaml.

    \b
    Examples:
      sidecar policy test
      sidecar policy test policy --verbose
      sidecar policy test policy -o json
    """
    require_sound(directory)
    warn_of_unread(directory)
    cases = cases_of(directory)
    rego: list[dict[str, Any]] = []
    with staged(directory, tests=True) as paths:
        if output == "table":
            code, said = _opa_test(paths, verbose)
        else:
            code, answer = asked("test", "--format", "json", *paths)
            rego, said = sorted(answer or [], key=_place), bool(answer)
    with Trial(read_policy(directory)) as trial:
        checked = trial.check(cases)
    if output == "table":
        _show(checked, verbose)
    else:
        data({"ok": not (code or _failed(checked)), "rego": rego, "cases": [_entry(*one) for one in checked]}, output)
    if not (said or cases):
        told = "rules in *_test.rego whose names begin with test_, or cases in cases.yaml"
        click.echo(f"sidecar: no tests in {directory}: {told}", err=True)
    if code or _failed(checked) or not (said or cases):
        raise click.exceptions.Exit(FAILED)


@click.command()
@directory_argument
@click.option(
    "--threshold", type=click.FloatRange(0, 100), metavar="PERCENT", help="Fail below this share of all lines."
)
@output_option
def coverage(directory: Path, threshold: float | None, output: str) -> None:
    """Say which lines of DIRECTORY's rules its tests and decision cases reach.

    \b
    Examples:
      sidecar policy coverage
      sidecar policy coverage policy --threshold 95
    """
    require_sound(directory)
    with _with_cases(directory) as paths:
        _, report = asked("test", "--coverage", *paths)  # of tests that all pass
    names = {str(path) for path in files_of(directory, "*.rego") if not path.name.endswith("_test.rego")}
    files = [_covered(name, report["files"].get(name, {})) for name in sorted(names)]
    reached = sum(file["covered"] for file in files)
    lines = sum(file["lines"] for file in files)
    total = _share(reached, lines)
    if output == "table":
        rows = [(f["file"], f["lines"], f"{f['percent']:.1f} %", ", ".join(f["missed"])) for f in files]
        table(("file", "lines", "covered", "missed lines"), [*rows, ("total", lines, f"{total:.1f} %", "")])
    else:
        data({"percent": total, "files": files}, output)
    if threshold is not None and total < threshold:
        click.echo(f"sidecar: {total:.1f} % of the lines are covered, {threshold:g} % are asked for", err=True)
        raise click.exceptions.Exit(FAILED)


def cases_of(directory: Path) -> list[Case]:
    """Every decision case of a policy directory. Raises ``Misconfigured`` for the first file that is none."""
    return [case for path in files_of(directory, *CASE_FILES) for case in read_cases(path.read_bytes(), str(path))]


def _opa_test(paths: list[str], verbose: bool) -> tuple[int, bool]:
    try:
        return 0, opa("test", *(["--verbose"] if verbose else []), *paths)
    except click.exceptions.Exit as ended:
        return ended.exit_code, True


def _place(result: dict[str, Any]) -> tuple[str, int]:
    return result["location"]["file"], result["location"]["row"]


def _failed(checked: Checked) -> int:
    return sum(1 for _, found in checked if found)


def _show(checked: Checked, verbose: bool) -> None:
    rows = [
        (case.source, case.name, one.field, _text(one.expected), _text(one.got))
        for case, found in checked
        for one in found
    ]
    if verbose:
        for case, found in checked:
            click.echo(f"{case.source}: {case.name}: {'FAIL' if found else 'PASS'}")
    if rows:
        table(_COLUMNS, rows)
    if checked:
        failed = _failed(checked)
        click.echo(f"CASES PASS: {len(checked) - failed}/{len(checked)}")
        if failed:
            click.echo(f"CASES FAIL: {failed}/{len(checked)}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _entry(case: Case, found: tuple[Difference, ...]) -> dict[str, Any]:
    return {"name": case.name, "where": case.source, "ok": not found, "differences": [one._asdict() for one in found]}


@contextmanager
def _with_cases(directory: Path) -> Iterator[list[str]]:
    """The staged directory with its tests, and each case as a test in Rego: so that OPA counts what they reach."""
    with staged(directory, tests=True) as paths:
        rules = "".join(
            f"\ntest_case_{number} if {{\n"
            f"\tdata.sidecar.authz.decision.allow == {'true' if case.allow else 'false'} "
            f"with input as {case.document().decode()}\n}}\n"
            for number, case in enumerate(cases_of(directory))
        )
        file = Path(paths[-1]).parent / "decision_cases_test.rego"
        file.write_text("package sidecar_decision_cases_test\n" + rules)
        yield [*paths, str(file)]


def _covered(name: str, report: dict[str, Any]) -> dict[str, Any]:
    reached, missed = report.get("covered_lines", 0), report.get("not_covered_lines", 0)
    rows = {(part["start"]["row"], part["end"]["row"]) for part in report.get("not_covered", ())}
    return {
        "file": name,
        "lines": reached + missed,
        "covered": reached,
        "percent": _share(reached, reached + missed),
        "missed": [f"{first}" if first == last else f"{first}-{last}" for first, last in sorted(rows)],
    }


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0
