"""The steps to the present form, and the file that new registries are made from."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from sidecar.adapters.registry import migrate
from sidecar.errors import Misconfigured


def test_the_committed_schema_is_what_the_steps_come_to() -> None:
    assert migrate.SCHEMA.read_text() == migrate.steps(migrate.SQLITE, None)


def test_the_head_is_the_last_step() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(
        str(migrate.SCHEMA.parent), version_locations=[str(migrate.SCHEMA.parent / "versions")]
    ).get_heads() == [migrate.HEAD]


@pytest.mark.parametrize("dialect", [migrate.SQLITE, migrate.POSTGRESQL])
def test_the_present_form_needs_no_step(dialect: str) -> None:
    assert migrate.steps(dialect, migrate.HEAD) == ""
    assert "registry_rows" in migrate.steps(dialect, None)


def test_a_form_of_a_newer_version_is_refused() -> None:
    with pytest.raises(Misconfigured, match="9999"):
        migrate.steps(migrate.SQLITE, "9999")


def test_the_steps_leave_their_revision() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(migrate.steps(migrate.SQLITE, None))
    assert connection.execute("SELECT version_num FROM registry_version").fetchall() == [(migrate.HEAD,)]
    connection.close()


def test_a_process_that_need_not_migrate_does_not_import_the_tool() -> None:
    code = (
        "import sys; from sidecar.adapters.registry import migrate, sqlite; migrate.steps('sqlite', migrate.HEAD);"
        "sys.exit(any(name.partition('.')[0] in ('alembic', 'sqlalchemy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
