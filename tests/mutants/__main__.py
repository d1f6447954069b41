"""Proves that the invariants' tests can fail: each mutant breaks one line, and its tests must notice.

``python -m tests.mutants [ID ...]`` copies the tree, checks that the named tests pass there, applies one mutant at a
time and runs its tests. Exit codes: 0 all killed, 1 a mutant survived, 2 the table itself is wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.yaml")
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
TEST_SECONDS = 300
PASSED, FAILED = 0, 1  # pytest's exit codes; the others say that no test ran


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One broken line, and the tests that must fail because of it."""

    id: str
    invariant: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class TableError(Exception):
    """An entry does not fit the tree any more."""


def table() -> list[Mutant]:
    """The committed mutants."""
    return msgspec.convert(yaml.safe_load(TABLE.read_text()), list[Mutant])


def copy(to: Path) -> Path:
    """The tree without its history, caches and environment."""
    return Path(shutil.copytree(ROOT, to / "tree", ignore=LEFT_BEHIND, symlinks=True))


def apply(mutant: Mutant, tree: Path) -> None:
    """Break the line. Raises ``TableError`` unless ``old`` stands exactly once in one line of the file."""
    file = tree / mutant.file
    text = file.read_text() if file.is_file() else ""
    if text.count(mutant.old) != 1 or "\n" in mutant.old or mutant.old == mutant.new or not mutant.tests:
        raise TableError(f"{mutant.id}: its old text does not stand exactly once in {mutant.file}")
    file.write_text(text.replace(mutant.old, mutant.new))


def run(tree: Path, tests: tuple[str, ...]) -> int:
    """pytest's exit code for ``tests`` in ``tree``, with this environment's packages and the tree's own code."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "-p", "no:cacheprovider"]
    environ = os.environ | {"PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environ, capture_output=True, timeout=TEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED
    return done.returncode


def survivors(mutant: Mutant) -> list[str]:
    """The tests that did not fail under ``mutant``: each alone, in a tree of its own."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = copy(Path(folder))
        apply(mutant, tree)
        return [test for test in mutant.tests if run(tree, (test,)) != FAILED]


def check_unbroken(mutants: list[Mutant]) -> None:
    """The tests pass where nothing is broken, and they test the copy. Raises ``TableError``."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = copy(Path(folder))
        where = [sys.executable, "-B", "-c", "import sidecar; print(sidecar.__file__)"]
        found = subprocess.run(
            where, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=True
        )
        if not Path(found.stdout.strip()).is_relative_to(tree):
            raise TableError("the tests would not run on the copy")
        if run(tree, tuple(sorted({test for mutant in mutants for test in mutant.tests}))) != PASSED:
            raise TableError("a named test does not pass, or does not exist, where nothing is broken")


def main(ids: list[str]) -> int:
    """Run the mutants named, or all."""
    mutants = [mutant for mutant in table() if not ids or mutant.id in ids]
    report = Table(title="Mutants")
    for column in ("mutant", "invariant", "file", "verdict"):
        report.add_column(column, overflow="fold")
    try:
        if not mutants or len({mutant.id for mutant in mutants}) != len(mutants):
            raise TableError("no such mutant, or an id stands twice")
        check_unbroken(mutants)
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = list(zip(mutants, pool.map(survivors, mutants), strict=True))
    except TableError as error:
        Console(stderr=True).print(f"mutants: {error}", markup=False)
        return 2
    for mutant, alive in results:
        verdict = "killed" if not alive else "SURVIVED " + ", ".join(alive)
        report.add_row(mutant.id, mutant.invariant, mutant.file, verdict)
    Console(width=None if sys.stdout.isatty() else 200).print(report)
    return 1 if any(alive for _, alive in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
