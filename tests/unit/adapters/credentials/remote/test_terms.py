from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.terms import changed, entry, found, written
from sidecar.model.credential import Terms
from sidecar.rules.credential_terms import LATEST, LONGEST_ROTATION
from sidecar.rules.credential_types import KINDS

END = 1_800_000_000_000_000
TERMS = st.builds(
    Terms,
    kind=st.none() | st.sampled_from(KINDS),
    expires=st.none() | st.integers(0, LATEST),
    rotate_days=st.none() | st.integers(1, LONGEST_ROTATION),
)


@given(TERMS)
def test_what_is_written_is_read_back_and_fits_every_store(terms: Terms) -> None:
    text = written(terms)
    assert found({entry("3"): text}, "3") == terms
    assert re.fullmatch(r"[A-Za-z0-9 _.:/=+@-]{1,256}", text)  # AWS's tags; Vault's metadata takes 512 of any


def test_people_can_read_it() -> None:
    assert written(Terms(kind="API_KEY", expires=END, rotate_days=90)) == (
        "kind=API_KEY expires=2027-01-15T08:00:00Z rotate_days=90"
    )
    assert written(Terms()) == "none"


def test_a_version_without_an_entry_keeps_the_kind_and_rotation_of_the_one_before_but_not_its_end() -> None:
    entries = {entry("2"): written(Terms(kind="OAUTH", expires=END, rotate_days=30)), entry("1"): "none"}
    assert found(entries, "4", ["3", "2", "1"]) == Terms(kind="OAUTH", rotate_days=30)
    assert found(entries, "1", []) == Terms()
    assert found({}, "4", ["3", "2", "1"]) == Terms()
    assert found({"team": "crm"}, "1") == Terms()


@pytest.mark.parametrize(
    "text",
    [
        "", "kind", "kind=ODD", "expires=never", "expires=2027-01-01T00:00:00", "expires=1800000000", "rotate_days=x",
        "ends=2027-01-01T00:00:00Z", "kind=API_KEY  rotate_days=1",
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_read_is_no_absence(text: str) -> None:
    for version, before in (("1", []), ("2", ["1"])):
        with pytest.raises(StoreFailure) as failure:
            found({entry("1"): text}, version, before)
        assert failure.value.code == "unusable_terms"


def test_entries_of_versions_that_are_gone_are_taken_away() -> None:
    assert changed({"team": "crm"}, "1", Terms(), lambda _: True) == {entry("1"): "none"}
    entries = {entry("1"): "none", entry("2"): "kind=OAUTH", "team": "crm"}
    assert changed(entries, "3", Terms(rotate_days=1), lambda one: one == "1") == {
        entry("1"): "",
        entry("3"): "rotate_days=1",
    }
