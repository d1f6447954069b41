"""A registry in one SQLite file, for one sidecar: the default, and all that a single pod needs.

Every statement runs on one thread of its own. A write is one transaction, on the disk when it returns
(``synchronous=FULL`` under a write-ahead log: https://sqlite.org/pragma.html#pragma_synchronous). The file is only
its owner's (0600); SQLite gives the files beside it the same mode.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from sidecar.adapters.registry import migrate, rows
from sidecar.adapters.registry.worker import Worker
from sidecar.errors import Misconfigured, Refused, Unavailable
from sidecar.model.registry import Row
from sidecar.ports import Clock

Result = TypeVar("Result")
SECONDS: Final = 5.0  # for one question, its wait included
_BUSY_MS: Final = 2000  # another process that writes, such as a backup
_OTHERS: Final = 0o077

_GET: Final = "SELECT * FROM registry_rows WHERE tenant = ? AND kind = ? AND id = ? AND NOT deleted"
_FIND: Final = (
    "SELECT * FROM registry_rows WHERE tenant = ? AND kind = ? AND id > ? AND NOT deleted ORDER BY id LIMIT ?"
)
_CHANGES: Final = "SELECT * FROM registry_rows WHERE tenant = ? AND sequence > ? ORDER BY sequence LIMIT ?"
_INSERT: Final = (
    "INSERT INTO registry_rows (tenant, kind, id, version, sequence, document, written_by, written_at, deleted)"
    " VALUES (?, ?, ?, 1, ?, ?, ?, ?, 0)"
    " ON CONFLICT (tenant, kind, id) DO UPDATE SET version = version + 1, sequence = excluded.sequence,"
    " document = excluded.document, written_by = excluded.written_by, written_at = excluded.written_at, deleted = 0"
    " WHERE deleted RETURNING *"
)
_UPDATE: Final = (
    "UPDATE registry_rows SET version = version + 1, sequence = ?, document = coalesce(?, document), written_by = ?,"
    " written_at = ?, deleted = ? WHERE tenant = ? AND kind = ? AND id = ? AND version = ? AND NOT deleted"
    " RETURNING *"
)
_NEXT: Final = (
    "INSERT INTO registry_heads (tenant, sequence) VALUES (?, 1)"
    " ON CONFLICT (tenant) DO UPDATE SET sequence = sequence + 1 RETURNING sequence"
)
_STATEMENTS: Final = rows.Statements(_GET, _FIND, _CHANGES, _INSERT, _UPDATE)


class SqliteStore(rows.Table):
    """A ``RegistryStore`` of ``tenant`` in the file ``path``, which is made at the first question.

    A file that others may read is not opened, nor one whose form a newer version made: every question is then
    ``Unavailable("registry_unavailable")``, until somebody mends it.
    """

    def __init__(self, path: Path, tenant: str, clock: Clock, seconds: float = SECONDS) -> None:
        super().__init__(_STATEMENTS, tenant, clock)
        self._path = path
        self._worker = Worker("registry", seconds)
        self._connection: sqlite3.Connection | None = None  # the worker's alone, like the next one
        self._opened: tuple[int, int] | None = None  # device and inode, once it was right

    async def close(self) -> None:
        """Finish what is under way and let go of the file."""
        await self._worker.close(self._let_go)

    async def _all(self, statement: str, *values: object) -> list[Row]:
        def work(connection: sqlite3.Connection) -> list[Row]:
            found = connection.execute(statement, (self._tenant, *values)).fetchall()
            return [rows.read(self._tenant, fields) for fields in found]

        return await self._worker.run(lambda: self._do(work))

    async def _write(self, statement: str, values: Callable[[int], tuple[object, ...]], conflict: Refused) -> Row:
        def work(connection: sqlite3.Connection) -> Row:
            connection.execute("BEGIN IMMEDIATE")
            sequence = connection.execute(_NEXT, (self._tenant,)).fetchone()[0]
            fields = connection.execute(statement, values(sequence)).fetchone()
            if fields is None:
                raise conflict
            row = rows.read(self._tenant, fields)
            connection.execute("COMMIT")
            return row

        return await self._worker.run(lambda: self._do(work))

    # On the worker's thread

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            self._check_place()
            connection = self._connection = self._connection or self._open()
            return work(connection)
        except (sqlite3.Error, OSError) as error:
            self._let_go()  # whatever is wrong, the next question begins anew
            raise Unavailable("registry_unavailable", f"The registry cannot be used ({_named(error)}).") from None
        except Misconfigured as error:
            raise Unavailable("registry_unavailable", error.detail) from None
        finally:
            if self._connection is not None and self._connection.in_transaction:
                self._undo()

    def _check_place(self) -> None:
        """Raises ``Misconfigured`` where the file that was opened is not at its path any more.

        Writes to it would be gone with this process, a kill switch too; and to close it could remove the log of what
        is there now (https://sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use).
        """
        if self._opened is None:
            return
        try:
            status = self._path.stat()
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._opened:
            name = self._path.name
            raise Misconfigured(f"{name} was removed or replaced while it was in use: put it back, or restart")

    def _undo(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if status.st_mode & _OTHERS:
            raise Misconfigured(f"others may open {self._path.name}: chmod 600 {self._path.name}")
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=_BUSY_MS / 1000, check_same_thread=True
        )
        try:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "trusted_schema = OFF",
                "cell_size_check = ON",
            ):
                connection.execute(f"PRAGMA {pragma}")
            _upgrade(connection)
        except BaseException:
            connection.close()
            raise
        self._opened = (status.st_dev, status.st_ino)
        return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring the file to the present form; in one transaction, because two sidecars may begin at once."""
    if _revision(connection) == migrate.HEAD:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        current = _revision(connection)
        script = migrate.SCHEMA.read_text() if current is None else migrate.steps(migrate.SQLITE, current)
        for statement in _statements(script):
            connection.execute(statement).fetchall()
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _revision(connection: sqlite3.Connection) -> str | None:
    named = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    if connection.execute(named, (migrate.VERSION_TABLE,)).fetchone() is None:
        return None
    found = connection.execute("SELECT version_num FROM registry_version").fetchone()
    return str(found[0]) if found else None


def _statements(script: str) -> list[str]:
    """``executescript`` would commit first, so they are run one by one."""
    found, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found


def _named(error: sqlite3.Error | OSError) -> str:
    """The error's own name: its text may hold a path or a value."""
    if isinstance(error, OSError):
        return error.strerror or "input or output failed"
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
