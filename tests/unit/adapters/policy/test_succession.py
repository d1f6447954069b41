"""P03: an old bundle, signed as it is, does not come back by itself."""

from __future__ import annotations

import pytest

from sidecar.adapters.policy.library import About
from sidecar.adapters.policy.succession import Standing, check_order, standing_of
from sidecar.errors import Misconfigured
from sidecar.model.activation import ACTIVATED, REFUSED, Activation


def entry(
    bundle: str, sequence: int | None = None, *, rollback: bool = False, outcome: str = ACTIVATED
) -> Activation:
    return Activation(
        number=1, time=0, outcome=outcome, origin="o", by="source", revision=f"r-{bundle}", bundle=bundle,
        sequence=sequence, rollback=rollback,
    )  # fmt: skip


def verdict(
    standing: Standing, bundle: str, sequence: int | None, *, ordered: bool = True, asked: bool = False
) -> str:
    try:
        check_order(standing, About(bundle=bundle, sequence=sequence), ordered=ordered, asked=asked)
    except Misconfigured as error:
        return error.reasons[0].code
    return "follows"


AT_FIVE = standing_of([entry("a", 4), entry("b", 5)])
BACK = standing_of([entry("a", 4), entry("b", 5), entry("a", 4, rollback=True)])


@pytest.mark.parametrize(
    ("standing", "bundle", "sequence", "expected"),
    [
        (Standing(), "a", 0, "follows"),
        (Standing(), "a", None, "no_sequence"),
        (AT_FIVE, "b", 5, "follows"),
        (AT_FIVE, "c", 6, "follows"),
        (AT_FIVE, "c", 5, "same_sequence"),
        (AT_FIVE, "a", 4, "older_bundle"),
        (AT_FIVE, "c", 0, "older_bundle"),
        (AT_FIVE, "c", None, "no_sequence"),
        (BACK, "a", 4, "follows"),
        (BACK, "b", 5, "withdrawn"),
        (BACK, "c", 5, "same_sequence"),
        (BACK, "c", 6, "follows"),
    ],
)
def test_p03_only_what_is_newer_may_follow_by_itself(
    standing: Standing, bundle: str, sequence: int | None, expected: str
) -> None:
    assert verdict(standing, bundle, sequence) == expected


def test_p03_an_administrator_may_undo_a_rollback_and_nothing_else_that_is_old() -> None:
    assert verdict(BACK, "b", 5, asked=True) == "follows"
    assert verdict(AT_FIVE, "a", 4, asked=True) == "older_bundle"
    assert verdict(BACK, "c", 4, asked=True) == "older_bundle"
    assert verdict(BACK.after(entry("d", 6)), "b", 5, asked=True) == "older_bundle"


def test_without_keys_and_sequences_any_may_follow_until_one_has_a_sequence() -> None:
    loose = standing_of([entry("a"), entry("b")])
    assert verdict(loose, "a", None, ordered=False) == "follows"
    assert verdict(loose, "c", 1, ordered=False) == "follows"
    assert verdict(standing_of([entry("a"), entry("c", 1)]), "d", None, ordered=False) == "no_sequence"


def test_the_mark_stays_at_the_highest_sequence_over_a_rollback() -> None:
    assert BACK.mark == 5
    assert BACK.active is not None
    assert BACK.active.bundle == "a"
    assert BACK.withdrawn == {"b"}


def test_what_is_activated_again_is_no_longer_withdrawn() -> None:
    again = BACK.after(entry("b", 5))
    assert again.withdrawn == frozenset()
    assert verdict(again, "a", 4) == "older_bundle"


def test_a_refusal_changes_nothing() -> None:
    assert AT_FIVE.after(entry("x", 99, outcome=REFUSED)) == AT_FIVE
