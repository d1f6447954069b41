"""The evidence log of one sidecar: the ports ``EvidenceLog`` and ``EvidenceReader`` over a directory of segments.

The directory (mode 0700) holds ``origin``, the keys (see ``keys``), ``lock``, ``reserve``, ``checkpoint`` and the
segments. Tiles, witnesses and sinks will read the same segments; their files have a place beside these.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from sidecar.adapters.evidence import checkpoints, disk, keys
from sidecar.adapters.evidence.appender import Appender, Condition, Entry
from sidecar.adapters.evidence.disk import Reserve, SyncFailedError, replace_file
from sidecar.adapters.evidence.frames import LEAF_KINDS
from sidecar.adapters.evidence.keys import TenantKey
from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.records import Recorder
from sidecar.adapters.evidence.recovery import recover
from sidecar.adapters.evidence.segments import segments
from sidecar.adapters.evidence.writer import Writer
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.evidence import Leaf, Receipt
from sidecar.ports import Clock, Observer
from sidecar.rules.notes import Signer
from sidecar.rules.tree import EMPTY_ROOT

P = ParamSpec("P")
T = TypeVar("T")

ORIGIN_FILE: Final = "origin"
_ORIGIN: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})-[0-9a-f]{8}")


class SegmentLog:
    """An append-only, tamper-evident log. One process at a time writes it; anyone may read it."""

    def __init__(
        self, directory: Path, origin: str, key: TenantKey, appender: Appender, clock: Clock, observer: Observer,
        watchdog_seconds: float, lock: int, open_intents: list[int],
    ) -> None:  # fmt: skip
        self._origin = origin
        self._key = key
        self._appender = appender
        self._clock = clock
        self._observer = observer
        self._watchdog_seconds = watchdog_seconds
        self._lock = lock
        self._writer: Writer | None = None
        self._closed = False
        self._reader = Reader(directory, origin, appender.marks)
        self._readers = ThreadPoolExecutor(2, "evidence-reader")
        self.open_intents = open_intents

    @classmethod
    def open(
        cls, directory: Path, tenant: str, *, segment_bytes: int, reserve_bytes: int, clock: Clock,
        observer: Observer, watchdog_seconds: float = 2.0,
    ) -> SegmentLog:  # fmt: skip
        """Lock, check, repair and continue the log in ``directory``, or begin one there.

        Raises ``Misconfigured`` for a second writer and for anything that does not add up, ``Unavailable`` when the
        disk refuses. ``open_intents`` are then the intents that no outcome was found for: "unknown" (E20).
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = disk.lock(directory)
        except OSError as error:
            raise _refused(directory, error) from None
        try:
            return cls._open(directory, tenant, lock, segment_bytes, reserve_bytes, clock, observer, watchdog_seconds)
        except (OSError, SyncFailedError) as error:
            os.close(lock)
            raise _refused(directory, error) from None
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _open(
        cls, directory: Path, tenant: str, lock: int, segment_bytes: int, reserve_bytes: int, clock: Clock,
        observer: Observer, watchdog_seconds: float,
    ) -> SegmentLog:  # fmt: skip
        origin, signer = _identity(directory, tenant)
        checkpoint = checkpoints.load(directory, signer.verifier)
        key = keys.load_tenant_key(directory, tenant) or keys.make_tenant_key(directory, tenant)
        state = recover(directory, origin, checkpoint)
        if state.repaired:
            observer.observe("evidence_repaired", {"bytes": state.repaired, "size": state.frontier.size})
        open_intents = list(state.open)
        appender = Appender(
            directory, state, signer, Recorder(origin, key), Reserve(directory, reserve_bytes), segment_bytes,
            checkpoint.size,
        )  # fmt: skip
        return cls(directory, origin, key, appender, clock, observer, watchdog_seconds, lock, open_intents)

    @property
    def origin(self) -> str:
        """The name of this log."""
        return self._origin

    @property
    def size(self) -> int:
        """How many records are durable."""
        return self._appender.size

    async def start(self) -> None:
        """Bind the log to the running event loop; the first ``append`` does it too."""
        self._bound()

    def writable(self) -> bool:
        """Whether a new intent would be accepted now."""
        if self._writer is None:
            return not self._closed and self._appender.condition is Condition.OPEN
        return self._writer.writable()

    async def append(self, leaf: Leaf, document: bytes | None = None) -> Receipt:
        """Return once ``leaf`` (origin, index and time set here) and ``document``, sealed, are durable.

        Raises ``Unavailable("evidence_unavailable")``, and ``ValueError`` for a kind of leaf that does not exist.
        A caller that is cancelled while it waits leaves the record in line; of an intent it is given the place all
        the same, as the port says.
        """
        if leaf.kind not in LEAF_KINDS:
            raise ValueError(f"no such kind of leaf: {leaf.kind}")
        waiting = self._bound().submit(Entry(leaf, self._clock.now(), document))
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.cancelled():
                raise
            return waiting.result()

    def digest(self, data: bytes) -> str:
        """HMAC-SHA-256 under a key derived from the tenant's, hex."""
        return self._key.digest(data)

    async def read(self, index: int) -> Leaf | None:
        """One durable record, or None. Raises ``Unavailable`` when its bytes are damaged."""
        if not 0 <= index < self.size:
            return None
        leaf = await self._in_thread(self._reader.read, index)
        if leaf is None:
            raise Unavailable("evidence_unavailable", f"Record {index} of the evidence log cannot be read.")
        return leaf

    async def recent(self, principal: str | None, limit: int, before: int | None) -> tuple[list[Leaf], int | None]:
        """Durable records, newest first; a page looks at no more than 50,000 of them. Raises ``Unavailable``."""
        stop = self.size if before is None else max(0, min(before, self.size))
        return await self._in_thread(self._reader.recent, principal, limit, stop)

    async def close(self) -> None:
        """Store what waits, sign a last checkpoint, let go of the directory (E25)."""
        if self._closed:
            return
        writer = self._bound()
        self._closed = True
        self._readers.shutdown(wait=False, cancel_futures=True)
        if await writer.close():
            os.close(self._lock)
        # else a hung thread may yet write: the lock goes when the process does

    def _bound(self) -> Writer:
        if self._writer is None:
            if self._closed:
                raise Unavailable("evidence_unavailable", "The evidence log is closed.")
            self._writer = Writer(self._appender, self._origin, self._clock, self._observer, self._watchdog_seconds)
        return self._writer

    def _in_thread(self, read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Awaitable[T]:
        if self._closed:
            raise Unavailable("evidence_unavailable", "The evidence log is closed.")
        return asyncio.get_running_loop().run_in_executor(self._readers, partial(read, *arguments, **named))


def _identity(directory: Path, tenant: str) -> tuple[str, Signer]:
    """The log's name and signing key; made once, for a directory that holds no evidence yet."""
    path = directory / ORIGIN_FILE
    try:
        origin = path.read_text("ascii").removesuffix("\n")
    except FileNotFoundError:
        return _begin(directory, tenant)
    except UnicodeDecodeError:
        origin = ""
    named = _ORIGIN.fullmatch(origin)
    if not named:
        raise Misconfigured(f"{path}: not a log's name. It was changed; restore it.")
    if named[1] != tenant:
        raise Misconfigured(f"{directory}: this evidence belongs to the tenant {named[1]}, not to {tenant}.")
    return origin, keys.load_signer(directory, origin)


def _begin(directory: Path, tenant: str) -> tuple[str, Signer]:
    """Keys and an empty checkpoint; the name comes last, so that a crash before it begins anew."""
    if segments(directory):
        raise Misconfigured(
            f"{directory}: there is evidence, but the file {ORIGIN_FILE} that names it is missing. Restore it."
        )
    origin = f"{tenant}-{secrets.token_hex(4)}"
    keys.make_tenant_key(directory, tenant)
    signer = keys.make_signer(directory, origin)
    checkpoints.store(directory, signer, 0, EMPTY_ROOT)
    replace_file(directory / ORIGIN_FILE, f"{origin}\n".encode())
    return origin, signer


def _refused(directory: Path, error: OSError | SyncFailedError) -> Unavailable:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Unavailable("evidence_unavailable", f"{directory}: the evidence log cannot be opened: {why}.")
