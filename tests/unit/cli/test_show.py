"""Data on stdout: tables for people, documents for programs."""

from __future__ import annotations

import json

import pytest
import yaml

from sidecar.cli.show import cell, data, printable, table

VALUE = {"b": [1, None, "ü"], "a": {"x": True}}


def test_documents(capsys: pytest.CaptureFixture[str]) -> None:
    data(VALUE, "json")
    assert json.loads(capsys.readouterr().out) == VALUE
    data(VALUE, "yaml")
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == VALUE
    assert list(yaml.safe_load(shown)) == ["b", "a"]
    assert "ü" in shown


def test_a_table_in_a_pipe_has_no_colours_and_folds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table(("where", "what"), [("a" * 200, "b" * 200), (None, 5)], "Errors")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a" * 200 in shown and "b" * 200 in shown
    assert "None" not in shown


def test_cells_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table(("a",), [("[bold]x[/bold]",), (":smile:",)])
    shown = capsys.readouterr().out
    assert "[bold]x[/bold]" in shown
    assert ":smile:" in shown


def test_nothing_in_a_table_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table(("reason",), [("\x1b[2J\x1b]0;owned\x07\r\u202e gone",), ("ü ☃ \u65e5\u672c",)])
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(shown)
    assert r"\x1b[2J\x1b]0;owned\x07\r\u202e gone" in shown
    assert "ü ☃ \u65e5\u672c" in shown


@pytest.mark.parametrize("text", ["\x9b2J", "\u202egone", "\x7f\x85\u2028", "\U000e0041", "ü ☃ \U0001f600"])
def test_nothing_in_a_document_steers_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An 8-bit CSI is one character, and no JSON encoder need escape it."""
    data({"reason": text}, "json")
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"reason": text}
    assert shown.replace("\n", "").isprintable()
    assert ("☃" in shown) is ("☃" in text)


def test_text_keeps_its_lines() -> None:
    assert printable("one\n\ttwo") == "one\n\ttwo"


def test_values_are_shown_as_people_write_them() -> None:
    assert [cell(value) for value in (None, True, False, 0, "x")] == ["", "yes", "no", "0", "x"]
    assert json.loads(cell({"code": "denied", "reasons": [None]})) == {"code": "denied", "reasons": [None]}
