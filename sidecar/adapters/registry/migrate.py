"""The form of the registry's tables, and the SQL that brings an older one to it.

The steps are Alembic's (``versions``). Alembic only writes the SQL; the adapters run it over their own connections in
one transaction. It is imported only where a registry is not in the present form: a new SQLite file is made from
``schema.sqlite.sql``, which is what the steps come to (a test holds it to them).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

from sidecar.errors import Misconfigured

HEAD: Final = "0001"
VERSION_TABLE: Final = "registry_version"
SQLITE, POSTGRESQL = "sqlite", "postgresql"

_FOLDER: Final = Path(__file__).parent
SCHEMA: Final = _FOLDER / "schema.sqlite.sql"


def steps(dialect: str, current: str | None) -> str:
    """The SQL from revision ``current`` (None: no tables yet) to ``HEAD``; empty where it is ``HEAD`` already.

    Raises ``Misconfigured`` for a revision that this version does not know: a newer sidecar was here.
    """
    if current == HEAD:
        return ""
    # Half a second that no start but the first after an upgrade has to pay.
    from alembic.config import Config  # noqa: PLC0415  # the reason above
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415  # the same
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # the same

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("version_locations", str(_FOLDER / "versions"))
    config.set_main_option("path_separator", "newline")
    script = ScriptDirectory.from_config(config)
    if current is not None and current not in {each.revision for each in script.walk_revisions()}:
        raise Misconfigured(
            f"the registry has the form {current}, which this version of the sidecar does not know: use a newer one"
        )

    def upgrade(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(HEAD, revision)

    written = io.StringIO()
    with EnvironmentContext(
        config, script, fn=upgrade, as_sql=True, starting_rev=current, destination_rev=HEAD
    ) as environment:
        environment.configure(
            dialect_name=dialect, output_buffer=written, transactional_ddl=False, version_table=VERSION_TABLE
        )
        environment.run_migrations()
    return written.getvalue()
