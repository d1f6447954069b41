"""YAML as the 1.2 core schema reads it, bounded, with the place of everything."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.document import BYTES_LIMIT, DEPTH_LIMIT, NODES_LIMIT, DocumentError, Place, parse, scalar


def _sentences(text: str | bytes) -> list[str]:
    with pytest.raises(DocumentError) as raised:
        parse(text.encode() if isinstance(text, str) else text)
    return [sentence for sentence, _ in raised.value.places]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("no", "no"), ("on", "on"), ("y", "y"), ("Yes", "Yes"), ("off", "off")),
        *(("true", True), ("True", True), ("FALSE", False)),
        *(("1_000", "1_000"), ("12:30:00", "12:30:00"), ("2026-01-01", "2026-01-01")),
        *(("017", 17), ("0o17", 15), ("0x1f", 31), ("+1", 1), ("-0", 0)),
        *(("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("1.5e-3", 0.0015)),
        *(("~", None), ("null", None), ("", None), ("nil", "nil")),
        *(("=", "="), ("<<", "<<"), ("-", "-"), ("+", "+"), (".", "."), ("0b1", "0b1"), ("1e", "1e")),
    ],
)
def test_a_plain_scalar_is_what_the_core_schema_says(text: str, value: Any) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text", [".inf", "-.inf", ".nan", "1e999", "9223372036854775808", "9" * 5000, "0x" + "f" * 30]
)
def test_what_json_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"finite|64 bits"):
        scalar(text)


def test_quotes_and_tags_make_text() -> None:
    assert parse(b"a: '1'\nb: \"true\"\nc: !!str 5\ne: |\n  7\n").value == {
        "a": "1",
        "b": "true",
        "c": "5",
        "e": "7\n",
    }
    assert parse(b"a: !!int '5'\nb: !!float 5\nc: !!bool 'true'\nd: !!null ''\ne: !!map {}\nf: !!seq []").value == {
        "a": 5,
        "b": 5.0,
        "c": True,
        "d": None,
        "e": {},
        "f": [],
    }


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [id]", "!!binary aGk=", "!!set {a: }", "!foo x", "!!timestamp 2026-01-01"],
)
def test_other_tags_are_refused(text: str) -> None:
    assert _sentences(f"a: {text}")[0] == "the tag is not one of YAML's core schema"


def test_a_tag_that_its_value_does_not_fit_is_refused() -> None:
    assert _sentences("a: !!int yes") == ["the value is not what its tag !!int says"]


def test_merge_keys_are_plain_keys() -> None:
    assert parse(b"<<: {a: 1}").value == {"<<": {"a": 1}}


def test_every_duplicate_and_every_odd_key_is_told_with_its_line() -> None:
    with pytest.raises(DocumentError) as raised:
        parse(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n1: x\n[a]: y\n")
    assert raised.value.places == [
        ("the key is written twice", Place(4, 3)),
        ("the key is written twice", Place(5, 1)),
        ("a key must be text: put it in quotes", Place(6, 1)),
        ("a key must be text: put it in quotes", Place(7, 1)),
    ]


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "? " * 100_000, "a: &a [*a]"])
def test_depth_is_bounded(text: str) -> None:
    """libyaml's composer alone dies of these with a broken stack."""
    assert _sentences(text) == [f"the document is nested more than {DEPTH_LIMIT} deep"]


def test_depth_up_to_the_bound_is_fine() -> None:
    value = parse(b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT).value
    for _ in range(DEPTH_LIMIT - 1):
        value = value[0]
    assert value == []


def test_aliases_work_and_cannot_grow_a_document_without_bound() -> None:
    assert parse(b"a: &x {b: 1}\nc: *x").value == {"a": {"b": 1}, "c": {"b": 1}}
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert _sentences(bomb) == [f"the document has more than {NODES_LIMIT} values, aliases counted each time"]


def test_size_is_bounded() -> None:
    assert _sentences(b"#" * (BYTES_LIMIT + 1)) == ["the file is larger than 4 MiB"]
    assert _sentences("[" + "a," * (NODES_LIMIT + 1) + "]")[0].startswith("the document has more than")


@pytest.mark.parametrize(
    ("text", "sentence", "place"),
    [
        (b"", "the file is empty", None),
        (b"# only a comment\n", "the file is empty", None),
        (b"a: 1\nb: \xff", "the file is not UTF-8 text", Place(2, 1)),
        ("a: 1".encode("utf-16"), "the file is not UTF-8 text", Place(1, 1)),
        (b"a: \x00", "not YAML: the file has characters that YAML does not allow", None),
        (b"a: *nothing", "not YAML: found undefined alias", Place(1, 4)),
        (b"a: 1\n---\nb: 2", "not YAML: but found another document", Place(2, 1)),
    ],
)
def test_what_is_no_document_says_where(text: bytes, sentence: str, place: Place | None) -> None:
    with pytest.raises(DocumentError) as raised:
        parse(text)
    assert raised.value.places == [(sentence, place)]


@pytest.mark.parametrize(
    ("text", "following", "place"),
    [
        (b"a:\n\t- b", "indent with spaces, not tabs; quote text that begins with @ or `", Place(2, 1)),
        (b"a: b: c", "quote text that holds a colon; mind the indentation", Place(1, 5)),
        (b"{path: /a/{b}}", "within {...}, quote text that holds a bracket or a comma", Place(1, 11)),
    ],
)
def test_what_newcomers_meet_says_the_next_step(text: bytes, following: str, place: Place) -> None:
    with pytest.raises(DocumentError) as raised:
        parse(text)
    ((sentence, where),) = raised.value.places
    assert sentence.endswith(f" ({following})")
    assert where == place


def test_places() -> None:
    document = parse(b"a:\n  b:\n    - 1\n    - c: x\n  'd e': {f: 2}\n")
    assert document.place(("a", "b", 1, "c")) == Place(4, 10)
    assert document.place(("a", "b", 1, "c"), key=True) == Place(4, 7)
    assert document.place(("a", "b")) == Place(2, 3)  # a mapping or list: its key, where a reader looks
    assert document.place(("a", "d e", "f")) == Place(5, 14)
    assert document.place(("a", "nothing", "below")) == Place(1, 1)  # the nearest thing around
    assert document.place(("a", "b", 9)) == Place(2, 3)
    assert document.place(()) == Place(1, 1)
