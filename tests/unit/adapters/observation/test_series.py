from __future__ import annotations

from typing import Any

import pytest

from sidecar.adapters.observation.series import OTHER, Level, Spread, Tally


def samples(family: Any) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


def test_a_tally_counts_by_label_values() -> None:
    tally = Tally("t", "text", ("a", "b"))
    tally.add(("x", "y"))
    tally.add(("x", "y"), 4)
    tally.add(("x", None))
    assert samples(tally.family()) == {("t_total", "x", "y"): 5, ("t_total", "x", ""): 1}


def test_a_tally_without_labels_shows_zero() -> None:
    assert samples(Tally("t", "text").family()) == {("t_total",): 0}


def test_a_tally_is_bounded() -> None:
    tally = Tally("t", "text", ("a",), limit=3)
    for number in range(100):
        tally.add((f"v{number}",))
    shown = samples(tally.family())
    assert len(shown) == 4
    assert shown[("t_total", OTHER)] == 97


def test_a_level_is_the_last_value_and_bounded() -> None:
    level = Level("g", "text", ("a",), limit=2)
    for number in range(5):
        level.set(1.0, (f"v{number}",))
    level.set(7.0, ("v0",))
    assert samples(level.family()) == {("g", "v0"): 7.0, ("g", "v1"): 1.0}


def test_a_spread_is_cumulative() -> None:
    spread = Spread("h", "text", (0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 20.0):
        spread.add(seconds)
    shown = samples(spread.family())
    assert shown[("h_bucket", "0.1")] == 2  # an upper edge belongs to its bucket
    assert shown[("h_bucket", "1.0")] == 3
    assert shown[("h_bucket", "+Inf")] == 4
    assert shown[("h_count",)] == 4
    assert shown[("h_sum",)] == pytest.approx(20.65)


def test_a_spread_by_label_is_bounded() -> None:
    spread = Spread("h", "text", (1.0,), "a", limit=2)
    for number in range(10):
        spread.add(0.5, f"v{number}")
    shown = samples(spread.family())
    assert shown[("h_count", "v0")] == 1
    assert shown[("h_count", OTHER)] == 8


@pytest.mark.parametrize("odd", [object(), b"x", 7, "\ud800"])
def test_an_odd_label_is_shown_as_text(odd: Any) -> None:
    tally, spread = Tally("t", "text", ("a",)), Spread("h", "text", (1.0,), "a")
    tally.add((odd,))
    spread.add(0.5, odd)
    for family in (tally.family(), spread.family()):
        for sample in family.samples:
            assert [value.encode().decode() for value in sample.labels.values()] == list(sample.labels.values())
