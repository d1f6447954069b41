"""What goes into a store and what comes out of one is checked, whichever store it is."""

from __future__ import annotations

import pytest

from sidecar.adapters.registry import rows
from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import ROLE

GOOD = ("acme", ROLE, "reader", 2, 7, '{"n":1}', "ada", 5, 0)


def test_a_row_is_read_from_the_columns_of_its_table() -> None:
    row = rows.read("acme", GOOD)
    assert (row.id, row.version, row.sequence, row.document, row.deleted) == ("reader", 2, 7, {"n": 1}, False)


def test_inv_4_a_row_of_another_tenant_is_never_handed_on() -> None:
    with pytest.raises(Unavailable, match="another tenant"):
        rows.read("umbrella", GOOD)


@pytest.mark.parametrize("document", ["", "{", "[]", '"text"', None, b"\xff"])
def test_a_row_whose_document_is_none_is_never_handed_on(document: object) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        rows.read("acme", (*GOOD[:5], document, *GOOD[6:]))


def test_a_row_whose_numbers_are_none_is_never_handed_on() -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        rows.read("acme", (*GOOD[:3], "two", *GOOD[4:]))


def test_a_document_has_one_spelling() -> None:
    assert rows.encoded({"b": 1, "a": {"d": 1, "c": 2}}) == rows.encoded({"a": {"c": 2, "d": 1}, "b": 1})


@pytest.mark.parametrize("document", [{"text": "x" * (256 << 10)}, {"text": "\ud800"}])
def test_a_document_that_no_store_could_keep_is_refused(document: dict[str, str]) -> None:
    with pytest.raises(Refused, match="invalid_payload"):
        rows.encoded(document)


def test_a_conflict_says_what_to_do() -> None:
    assert rows.conflict(ROLE, "x", None).detail.startswith("The role 'x' exists already.")
    assert "version 3" in rows.conflict(ROLE, "x", 3).detail
