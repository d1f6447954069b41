from __future__ import annotations

import pytest

from sidecar.rules.escapes import BACKSLASH, FOLD, PERCENT, REFERENCE, WIDE, Escape, Reading, decoded


@pytest.mark.parametrize(
    ("escape", "text", "plain"),
    [
        (PERCENT, b"a%41%6a%4A%", b"aAjJ%"),
        (PERCENT, b"100%zz %4", None),
        (BACKSLASH, b"\\u0041\\u00e9\\/\\\"\\\\\\n\\x41\\'", "Aé/\"\\\nA'".encode()),
        (BACKSLASH, b"\\uD83D\\uDE00", "😀".encode()),
        (BACKSLASH, b"\\\\u0041", b"\\u0041"),
        (BACKSLASH, b'{\\"a\\":\\n\\t\\r\\/}', b'{"a":\n\t\r/}'),
        (BACKSLASH, b'\\\\"\\\\n\\n', b'\\"\\n\n'),
        (BACKSLASH, b"none", None),
        (BACKSLASH, b"\\q\\u00g0", None),
        (REFERENCE, b"&amp;&#65;&#x41;&#0065;&sol;&unknown;", b"&AAA/&unknown;"),
        (REFERENCE, b"a=1&page=2 ", None),
        (WIDE, b"s\0e\0", b"se"),
        (WIDE, b"s\0\0\0e" + b"\0" * 4 + b"c", b"se\0c"),
        (FOLD, b"QU\r\n JD", b"QUJD"),
        (FOLD, b"QU" + b" " * 129 + b"JD", b"QU JD"),
    ],
)
def test_escapes_are_replaced_by_what_they_stand_for(escape: Escape, text: bytes, plain: bytes | None) -> None:
    if plain is None:
        assert decoded(text, escape) in (None, text)
    else:
        assert decoded(text, escape) == plain


def test_a_readings_bytes_lead_back_to_the_escapes_they_came_from() -> None:
    reading = Reading(b"x\\u0041y").taken(BACKSLASH, final=True)
    assert reading is not None
    assert reading.text == b"xAy"
    assert [reading.start(at) for at in range(4)] == [0, 1, 7, 8]
    assert [reading.end(at) for at in range(1, 4)] == [1, 7, 8]


def test_the_way_back_leads_through_escapes_within_escapes() -> None:
    outer = Reading(b"-\\u002541-").taken(BACKSLASH, final=True)
    assert outer is not None
    inner = outer.taken(PERCENT, final=True)
    assert inner is not None
    assert inner.text == b"-A-"
    assert (inner.start(1), inner.end(2)) == (1, 9)


@pytest.mark.parametrize("tail", [b"\\", b"\\u00", b"\\u004", b"\\x4", b"\\ud83d", b"\\ud83d\\", b"\\ud83d\\ude0"])
def test_an_escape_that_the_end_cuts_off_is_not_read_yet(tail: bytes) -> None:
    open_ended = Reading(b"\\u0041b" + tail).taken(BACKSLASH, final=False)
    assert open_ended is not None
    assert (open_ended.text, open_ended.cut) == (b"Ab", 7)
    final = Reading(b"\\u0041b" + tail).taken(BACKSLASH, final=True)
    assert final is not None
    assert final.cut is None
    assert final.text.startswith(b"Ab")


@pytest.mark.parametrize("tail", [b"%", b"%4"])
def test_a_percent_that_the_end_cuts_off_is_not_read_yet(tail: bytes) -> None:
    reading = Reading(b"%41" + tail).taken(PERCENT, final=False)
    assert reading is not None
    assert (reading.text, reading.cut) == (b"A", 3)


@pytest.mark.parametrize("tail", [b"&", b"&#", b"&#x4", b"&am"])
def test_a_reference_that_the_end_cuts_off_is_not_read_yet(tail: bytes) -> None:
    reading = Reading(b"&#65;" + tail).taken(REFERENCE, final=False)
    assert reading is not None
    assert (reading.text, reading.cut) == (b"A", 5)


def test_an_escaped_backslash_at_the_end_is_whole() -> None:
    reading = Reading(b"a\\\\").taken(BACKSLASH, final=False)
    assert reading is not None
    assert (reading.text, reading.cut) == (b"a\\", None)


def test_a_place_inside_an_escape_moves_to_its_beginning() -> None:
    outer = Reading(b"a\\u0025b%41").taken(BACKSLASH, final=True)
    assert outer is not None
    assert [outer.between(at) for at in range(12)] == [0, 1, 1, 1, 1, 1, 1, 7, 8, 9, 10, 11]
    inner = Reading(b"\\u002541").taken(BACKSLASH, final=True)
    assert inner is not None
    inner = inner.taken(PERCENT, final=True)
    assert inner is not None
    assert [inner.between(at) for at in (0, 6, 7, 8)] == [0, 0, 0, 8]


@pytest.mark.parametrize("text", [b'{\\"a\\":\\n}', b'\\\\"x\\\\n', b"\\/\\t\\r", b'\\\\\\"', b'"\\n'])
def test_the_quick_way_reads_as_the_careful_one(text: bytes) -> None:
    careful = Reading(text).taken(BACKSLASH, final=True)
    assert careful is not None
    assert decoded(text, BACKSLASH) == careful.text
