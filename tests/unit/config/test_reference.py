"""The configuration reference has a row for every key."""

from __future__ import annotations

from sidecar.config.reference import markdown
from sidecar.config.schemas import schema


def _tables() -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for line in markdown().splitlines():
        if line.startswith("### "):
            name = line.removeprefix("### ").replace("`", "")
            tables[name] = []
        elif line.startswith("| `"):
            tables[name].append(line)
    return tables


def test_every_key_of_every_section_has_a_row() -> None:
    keys = sum(len(rule["properties"]) for rule in schema("config")["$defs"].values())
    assert sum(map(len, _tables().values())) == keys


def test_sections_are_found_under_the_path_that_is_written() -> None:
    tables = _tables()
    assert next(iter(tables)) == "Top level"
    for path in ("principals.<id>", "principals.<id>.keys[]", "connectors.<id>.operations.<id>.answer", "doors"):
        assert path in tables


def test_rows_show_type_default_and_meaning() -> None:
    tables = _tables()
    assert "| `tenant` | text | required | the one tenant this sidecar serves |" in tables["Top level"]
    assert '| `access` | text | `"127.0.0.1:8080"` | the agents\' door; loopback only |' in tables["doors"]
    burst = [line for line in tables["connectors.<id>.rate, limits.principal"] if "`burst`" in line]
    assert burst == ["| `burst` | integer from 1 to 1000000 | `10` | how many of them at once |"]


def test_no_cell_breaks_its_row() -> None:
    for line in markdown().splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") == 5, line
