"""Each invariant has tests of its own name, and a mutant that proves they can fail."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, modules
from tests.mutants.__main__ import table

INVARIANTS = range(2, 9)  # INV-1 is about SQL and comes with it


@pytest.mark.parametrize("number", INVARIANTS)
def test_an_invariant_has_a_test_of_its_name(number: int) -> None:
    pattern = re.compile(rf"^ *(?:async )?def test_inv_{number}_\w+\(", re.MULTILINE)
    assert [path for path in modules(ROOT / "tests") if pattern.search(path.read_text())]


@pytest.mark.parametrize("number", INVARIANTS)
def test_an_invariant_has_a_mutant_that_its_own_tests_must_kill(number: int) -> None:
    mine = [mutant for mutant in table() if mutant.invariant == f"INV-{number}"]
    assert mine
    assert all(any(f"::test_inv_{number}_" in test for test in mutant.tests) for mutant in mine)


def test_every_mutant_still_fits_the_tree() -> None:
    """`make mutants` takes its time; that an entry has drifted shows here at once."""
    ids = [mutant.id for mutant in table()]
    assert len(set(ids)) == len(ids)
    for mutant in table():
        assert (ROOT / mutant.file).read_text().count(mutant.old) == 1, mutant.id
        for test in mutant.tests:
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), mutant.id
