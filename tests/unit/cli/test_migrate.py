"""``sidecar migrate`` on a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from tests.postgres import fresh_tenant, run, server
from tests.unit.config.builders import GOOD, written


def migrate(folder: Path, registry: dict[str, Any] | None, *arguments: str) -> Result:
    document = GOOD | {"store": {"allow_environment": True}} | ({"registry": registry} if registry else {})
    return CliRunner().invoke(main, ["migrate", *arguments, "-c", str(written(folder, document))])


@pytest.mark.needs_postgres
def test_tables_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh_tenant().replace("-", "_")
    run(server().ask(f"CREATE DATABASE {name}"))
    monkeypatch.setenv("OWNER", server().owner.replace("/postgres?", f"/{name}?"))
    made = migrate(tmp_path, {"postgres": "env://OWNER"}, "-o", "json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {"before": None, "now": "0001"}
    again = migrate(tmp_path, None, "--url", "env://OWNER")
    assert again.stdout.count("0001") == 2


def test_a_registry_in_a_file_needs_none_of_it(tmp_path: Path) -> None:
    result = migrate(tmp_path, None)
    assert result.exit_code == 1
    assert "when it is opened" in result.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter2@127.0.0.1/x", "not a reference"),
        ("env://OWNER", "sslmode=verify-full"),
        ("env://NOT_SET_HERE", "could not be resolved"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("OWNER", "postgresql://u:hunter2@db.example/x")
    result = migrate(tmp_path, None, "--url", url)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "hunter2" not in result.output
