"""``sidecar schemas``: print, write, document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.config.reference import markdown
from sidecar.config.schemas import NAMES, schema


def _schemas(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["schemas", *arguments])


def test_without_a_name_the_names() -> None:
    result = _schemas()
    assert (result.exit_code, result.stdout.split()) == (0, list(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_prints_its_schema(name: str) -> None:
    result = _schemas(name)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema(name)


def test_write_makes_a_file_of_each(tmp_path: Path) -> None:
    result = _schemas("--write", str(tmp_path / "new" / "schemas"))
    assert result.exit_code == 0
    files = {file.name: json.loads(file.read_text()) for file in (tmp_path / "new" / "schemas").iterdir()}
    assert files == {f"{name}.schema.json": schema(name) for name in NAMES}
    assert result.stdout == ""


def test_markdown_prints_the_reference() -> None:
    assert _schemas("--markdown").stdout == markdown()


@pytest.mark.parametrize("arguments", [["nothing"], ["config", "--markdown"], ["--markdown", "--write", "x"]])
def test_a_wrong_command_line_exits_2(arguments: list[str]) -> None:
    assert _schemas(*arguments).exit_code == 2
