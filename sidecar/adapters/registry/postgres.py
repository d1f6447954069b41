"""A registry that sidecars share: PostgreSQL, over one connection a sidecar.

One connection is enough for what a sidecar asks (four small questions a second), and pods are many. A row of another
tenant cannot be read or written: the session's tenant is held by row security, so a role that passes over it is
refused; every statement names the tenant as well, and every row is checked (INV-4). Over a network the URL says
``sslmode=verify-full``; statements, locks and idle transactions are bounded by the server and by us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from sidecar.adapters.registry import migrate, rows
from sidecar.errors import Misconfigured, Refused, SidecarError, Unavailable
from sidecar.model.registry import Row
from sidecar.model.secret import Secret
from sidecar.ports import Clock

Result = TypeVar("Result")
SECONDS: Final = 3.0  # for one question, its wait and a new connection included
_MIGRATE_SECONDS: Final = 60.0
_LOCK: Final = 0x5C9_0001  # of migrations, in the database's space of advisory locks

_SETTINGS: Final = {
    "application_name": "sidecar",
    "statement_timeout": "2500",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "5000",
    "synchronous_commit": "on",  # a write that was acknowledged is on the disk, whatever the server's default
}

# The last is asyncpg's word for a server that ended between two messages.
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_GET: Final = "SELECT * FROM registry_rows WHERE tenant = $1 AND kind = $2 AND id = $3 AND NOT deleted"
_FIND: Final = (
    "SELECT * FROM registry_rows WHERE tenant = $1 AND kind = $2 AND id > $3 AND NOT deleted ORDER BY id LIMIT $4"
)
_CHANGES: Final = "SELECT * FROM registry_rows WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
# The head's row is locked until the end of the transaction: sequences become visible in their order.
_NEXT: Final = (
    "INSERT INTO registry_heads (tenant, sequence) VALUES ($1, 1)"
    " ON CONFLICT (tenant) DO UPDATE SET sequence = registry_heads.sequence + 1 RETURNING sequence"
)
_INSERT: Final = (
    "INSERT INTO registry_rows AS old"
    " (tenant, kind, id, version, sequence, document, written_by, written_at, deleted)"
    " VALUES ($1, $2, $3, 1, $4, $5, $6, $7, false)"
    " ON CONFLICT (tenant, kind, id) DO UPDATE SET version = old.version + 1, sequence = excluded.sequence,"
    " document = excluded.document, written_by = excluded.written_by, written_at = excluded.written_at,"
    " deleted = false WHERE old.deleted RETURNING *"
)
_UPDATE: Final = (
    "UPDATE registry_rows SET version = version + 1, sequence = $1, document = coalesce($2, document),"
    " written_by = $3, written_at = $4, deleted = $5"
    " WHERE tenant = $6 AND kind = $7 AND id = $8 AND version = $9 AND NOT deleted RETURNING *"
)
_STATEMENTS: Final = rows.Statements(_GET, _FIND, _CHANGES, _INSERT, _UPDATE)


class PostgresStore(rows.Table):
    """A ``RegistryStore`` of ``tenant`` in the database whose URL ``url`` gives, asked for at each new connection."""

    def __init__(
        self, url: Callable[[], Awaitable[Secret]], tenant: str, clock: Clock, seconds: float = SECONDS
    ) -> None:
        super().__init__(_STATEMENTS, tenant, clock)
        self._url = url
        self._seconds = seconds
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        self._drop()

    async def _all(self, statement: str, *values: object) -> list[Row]:
        async def work(connection: Any) -> list[Row]:
            found = await connection.fetch(statement, self._tenant, *values)
            return [rows.read(self._tenant, tuple(fields)) for fields in found]

        return await self._run(work)

    async def _write(self, statement: str, values: Callable[[int], tuple[object, ...]], conflict: Refused) -> Row:
        async def work(connection: Any) -> Row:
            async with connection.transaction():
                sequence = await connection.fetchval(_NEXT, self._tenant)
                fields = await connection.fetchrow(statement, *values(sequence))
                if fields is None:
                    raise conflict
                return rows.read(self._tenant, tuple(fields))

        return await self._run(work)

    async def _run(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        try:
            async with asyncio.timeout(self._seconds), self._lock:
                try:
                    return await work(await self._connected())
                except SidecarError:
                    raise
                except BaseException:
                    self._drop()  # whatever is wrong, the next question begins anew
                    raise
        except TimeoutError:
            raise Unavailable(
                "registry_unavailable", f"The registry did not answer within {self._seconds:g} seconds."
            ) from None
        except (OSError, ValueError, *_FAILURES) as error:
            raise Unavailable("registry_unavailable", f"The registry cannot be used ({_named(error)}).") from None
        except Misconfigured as error:
            raise Unavailable("registry_unavailable", error.detail) from None

    async def _connected(self) -> Any:
        if self._closed:
            raise Unavailable("registry_unavailable", "The registry is closed.")
        if self._connection is None or self._connection.is_closed():
            try:
                url = await self._url()
            except Unavailable as error:
                raise Unavailable("registry_unavailable", f"The registry's URL: {error.detail}") from None
            connection = await connect(url, self._seconds, {"sidecar.tenant": self._tenant})
            try:
                await _check(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()  # a polite end could wait for a server that has stopped


async def connect(url: Secret, seconds: float, settings: dict[str, str] | None = None) -> Any:
    """A connection. Raises ``Misconfigured`` for a URL that may not be used, and what asyncpg does."""
    plain = url.reveal().decode()
    check_url(plain)
    return await asyncpg.connect(
        plain, timeout=seconds, command_timeout=seconds, server_settings=_SETTINGS | (settings or {})
    )


def check_url(url: str) -> None:
    """Raises ``Misconfigured`` unless ``url`` is PostgreSQL's and, over a network, verifies the server's name."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname or ""])[-1]
        verified = query.get("sslmode", [""])[-1] == "verify-full"
    except ValueError:
        raise Misconfigured("the registry's URL cannot be read: postgresql://user:password@host/database") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise Misconfigured("the registry's URL begins with postgresql://")
    if not (verified or host.startswith("/") or _is_loopback(host)):
        raise Misconfigured("the registry's URL needs sslmode=verify-full, because it leads over a network")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may come to mean another host


async def _check(connection: Any) -> None:
    """Raises ``Misconfigured`` for a registry of another form, and for a role that row security does not hold."""
    current = await _revision(connection)
    if current != migrate.HEAD:
        found = f"has the form {current}" if current else "has no tables yet"
        raise Misconfigured(f"the registry {found}, and this version needs {migrate.HEAD}: run `sidecar migrate`")
    free = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    if await connection.fetchval(free) is not False:
        raise Misconfigured("the registry's role passes over row security: use one that is no superuser")


async def _revision(connection: Any) -> str | None:
    if await connection.fetchval("SELECT to_regclass($1)", migrate.VERSION_TABLE) is None:
        return None
    found = await connection.fetchval("SELECT version_num FROM registry_version")
    return None if found is None else str(found)


async def upgrade(url: Secret) -> tuple[str | None, str]:
    """Bring the registry to the present form, in one transaction: the form it had and the one it has.

    Raises ``Misconfigured`` and ``Unavailable("registry_unavailable")``.
    """
    try:
        connection = await connect(url, _MIGRATE_SECONDS, {"statement_timeout": "0", "lock_timeout": "30000"})
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                current = await _revision(connection)
                # Alembic is imported and works for a moment; nothing else waits for this loop.
                script = migrate.steps(migrate.POSTGRESQL, current)
                if script:
                    await connection.execute(script)
        finally:
            connection.terminate()
    except (OSError, ValueError, *_FAILURES) as error:
        raise Unavailable("registry_unavailable", f"The registry cannot be changed ({_named(error)}).") from None
    return current, migrate.HEAD


def _named(error: BaseException) -> str:
    """The error's own name: its text may hold the URL, or a value."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__.removesuffix("Error")
