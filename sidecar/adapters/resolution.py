"""Host names looked up by the system's own resolver.

One ``getaddrinfo`` for each name at a time, on a thread of its own: callers that ask for the same name meanwhile
share it, and a thread that hangs in the resolver ends with the process instead of holding it up. An answer is kept
for a few seconds, because a lookup costs more than the rest of a call; whoever asks checks the addresses on every
call, and dials what was checked (A25), so a kept answer is never less safe than a new one. Failures are not kept.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sidecar.errors import Unavailable
from sidecar.model.hosts import is_ip_literal
from sidecar.ports import Clock

KEEP_SECONDS: Final = 5.0
_KEPT_NAMES: Final = 1024
_LOOKUPS: Final = 16  # at once; each is a thread

Lookup = Callable[[str], tuple[str, ...]]


class _Kept(NamedTuple):
    until: float
    addresses: tuple[str, ...]


def system_lookup(name: str) -> tuple[str, ...]:
    """Every address of a name, each once, in the system's order. Blocks. Raises ``OSError``."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class SystemResolver:
    """A ``Resolver`` on ``getaddrinfo``.

    ``fixed`` addresses, by canonical name, take the place of a lookup; an IP literal is its own answer. ``timeout``
    and ``keep`` are seconds; ``keep=0`` looks up on every call.
    """

    def __init__(
        self,
        clock: Clock,
        fixed: Mapping[str, tuple[str, ...]] | None = None,
        *,
        timeout: float = 3.0,
        keep: float = KEEP_SECONDS,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._monotonic = clock.monotonic
        self._fixed = dict(fixed or {})
        self._timeout = timeout
        self._keep = keep
        self._lookup = lookup
        self._kept: dict[str, _Kept] = {}
        self._flights: dict[str, asyncio.Future[tuple[str, ...]]] = {}

    def fix(self, fixed: Mapping[str, tuple[str, ...]]) -> None:
        """Take other fixed addresses (a reload of the configuration) and forget what was kept."""
        self._fixed = dict(fixed)
        self._kept.clear()

    async def resolve(self, name: str) -> tuple[str, ...]:
        """Every address of a canonical name. Raises ``Unavailable("destination_forbidden")`` (A29)."""
        fixed = self._fixed.get(name)
        if fixed is not None:
            return fixed
        if is_ip_literal(name):
            return (name,)
        kept = self._kept.get(name)
        if kept is not None and kept.until > self._monotonic():
            return kept.addresses
        flight = self._flights.get(name) or self._start(name)
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await asyncio.shield(flight)
        except TimeoutError:
            addresses = ()
        if not addresses:
            raise _failed(name)
        return addresses

    def _start(self, name: str) -> asyncio.Future[tuple[str, ...]]:
        if len(self._flights) >= _LOOKUPS:
            raise _failed(name)
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._look_up, args=(name, loop), name="lookup", daemon=True).start()
        except RuntimeError:
            raise _failed(name) from None  # the machine gives no more threads
        flight = self._flights[name] = loop.create_future()  # _land runs on this loop, so not before this line
        return flight

    def _look_up(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        try:
            addresses = self._lookup(name)
        except Exception:  # a name that cannot be looked up for whatever reason is refused; a lost one would hang
            addresses = ()
        try:
            loop.call_soon_threadsafe(self._land, name, addresses)
        except RuntimeError:
            return  # the loop has ended: nobody waits any more

    def _land(self, name: str, addresses: tuple[str, ...]) -> None:
        flight = self._flights.pop(name)
        flight.set_result(addresses)
        if addresses and self._keep > 0:
            while len(self._kept) >= _KEPT_NAMES:
                del self._kept[next(iter(self._kept))]
            self._kept[name] = _Kept(self._monotonic() + self._keep, addresses)


def _failed(name: str) -> Unavailable:
    return Unavailable("destination_forbidden", f"{name} could not be looked up.")
