"""An end to every exchange with a store, which the libraries that speak to it do not give.

Both stand on urllib3, whose timeouts hold for one pause between two bytes. A network that lets a byte through now and
then would so hold a thread for hours, and with it the credential that waits for the answer. So a connection tells the
exchange that uses it, and what takes too long is cut: its sockets are shut down, and the thread that reads from them
goes on with an end of file.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from sidecar.adapters.credentials.remote.store import StoreFailure

Result = TypeVar("Result")


class Exchange:
    """One piece of work of one thread. Any other thread may ``cut`` it, before, while and after it runs."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._watched: list[socket.socket] = []
        self._is_over = False

    def run(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in this thread. Raises what it raises, or ``StoreFailure("store_slow")`` once it was cut.

        What it gives is not used either then: an answer that was cut can look like one that was empty.
        """
        before = _CURRENT.set(self)
        try:
            self.check()
            given = work()
            self.check()
        except Exception:
            self.check()
            raise
        finally:
            _CURRENT.reset(before)
            self._forget()
        return given

    def cut(self) -> None:
        """End it: whatever it reads from or writes to ends now, and nothing more is begun. Does not block."""
        with self._alone:
            self._is_over = True
            for one in self._watched:
                _shut(one)

    def watch(self, connection: socket.socket) -> None:
        """Cut this one too. Kept is a descriptor of our own, because TLS takes over the first. Raises as ``run``."""
        kept = socket.fromfd(connection.fileno(), connection.family, connection.type)
        with self._alone:
            self._watched.append(kept)
        self.check()

    def check(self) -> None:
        """Raises ``StoreFailure("store_slow")`` once it was cut."""
        with self._alone:
            if self._is_over:
                raise StoreFailure("store_slow") from None

    def _forget(self) -> None:
        with self._alone:
            watched, self._watched = self._watched, []
        for one in watched:
            one.close()


_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current() -> Exchange | None:
    """The exchange that this thread is in."""
    return _CURRENT.get()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended by itself
        return
