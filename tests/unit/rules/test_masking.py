"""Values masked at JSON Pointers, ``*`` for any member (an obligation)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.model.decision import Pointer
from sidecar.rules.masking import MASKED, is_pointer, mask


@pytest.mark.parametrize(
    ("document", "pointer", "expected"),
    [
        ({"a": 1, "b": 2}, "/a", {"a": MASKED, "b": 2}),
        ({"a": {"b": [1, 2]}}, "/a/b/1", {"a": {"b": [1, MASKED]}}),
        ({"a": [{"ssn": 1, "n": 2}, {"ssn": 3}]}, "/a/*/ssn", {"a": [{"ssn": MASKED, "n": 2}, {"ssn": MASKED}]}),
        ({"a": {"x": {"k": 1}, "y": {"k": 2}}}, "/a/*/k", {"a": {"x": {"k": MASKED}, "y": {"k": MASKED}}}),
        ({"a": 1, "b": [2]}, "/*", {"a": MASKED, "b": MASKED}),
        ([1, 2], "/*", [MASKED, MASKED]),
        ({"a": 1}, "", MASKED),
        ("text", "", MASKED),
        ({"a/b": 1, "m~n": 2}, "/a~1b", {"a/b": MASKED, "m~n": 2}),
        ({"a/b": 1, "m~n": 2}, "/m~0n", {"a/b": 1, "m~n": MASKED}),
        ({"~1": 1}, "/~01", {"~1": MASKED}),
        ({"": 1}, "/", {"": MASKED}),
        ({"*": 1, "b": 2}, "/*", {"*": MASKED, "b": MASKED}),
        ({"a": None}, "/a", {"a": MASKED}),
        ({"a": {"b": 1}}, "/a", {"a": MASKED}),
    ],
)
def test_a_value_is_masked(document: Any, pointer: str, expected: Any) -> None:
    assert mask(document, [pointer]) == expected


@pytest.mark.parametrize(
    "pointer",
    [
        "/missing",
        "/a/b/c",
        "/a/9",
        "/a/1",
        "/a/-1",
        "/a/01",
        "/a/00",
        "/a/\N{ARABIC-INDIC DIGIT ZERO}",
        "/a/0/x",
        "/a/" + "9" * 5000,
    ],
)
def test_what_is_not_there_is_no_error(pointer: str) -> None:
    assert mask({"a": [1]}, [pointer]) == {"a": [1]}


def test_every_pointer_counts_in_any_order() -> None:
    document = {"a": {"b": 1}, "c": 2}
    assert mask({"a": {"b": 1}, "c": 2}, ["/a/b", "/a", "/c"]) == {"a": MASKED, "c": MASKED}
    assert mask(document, ["/c", "/a", "/a/b"]) == {"a": MASKED, "c": MASKED}


@pytest.mark.parametrize("text", ["", "/", "/a", "/a/*/b", "/~0~1", "/ ", "/ä\n"])
def test_what_is_a_pointer(text: str) -> None:
    assert is_pointer(text)
    assert msgspec.convert([text], tuple[Pointer, ...]) == (text,)  # what an obligation takes is the same


@pytest.mark.parametrize("text", ["a", "a/b", "#/a", "/a~", "/a~2", "$.a", " /a", "/~", "\n"])
def test_what_is_no_pointer(text: str) -> None:
    assert not is_pointer(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert([text], tuple[Pointer, ...])
    with pytest.raises(ValueError, match="not a JSON Pointer"):
        mask({"a": 1}, [text])
