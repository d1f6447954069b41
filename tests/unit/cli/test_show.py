"""Data on stdout: tables for people, documents for programs."""

from __future__ import annotations

import json

import pytest
import yaml

from sidecar.cli.show import data, table

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
