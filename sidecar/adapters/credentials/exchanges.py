"""An end to every exchange with a store, which the libraries that speak to it do not give.

Both stand on urllib3, whose timeouts hold for one pause between two bytes. A network that lets a byte through now and
then would so hold a thread for hours, and with it the credential that waits for the answer. So a connection tells the
exchange that uses it, and what takes too long is cut: its sockets are shut down, and the thread that reads from them
goes on with an end of file.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sidecar.adapters.credentials.remote import StoreFailure

NO_CONTENT: Final = 204

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


def watched(kind: Any) -> Any:
    """A class of urllib3 connections like ``kind``, which tell the exchange that they are used in."""

    def connects(self: Any) -> socket.socket:
        exchange = _CURRENT.get()
        if exchange is None:
            plain: socket.socket = kind._new_conn(self)
            return plain
        exchange.check()
        made: socket.socket = kind._new_conn(self)
        try:
            exchange.watch(made)
        except BaseException:
            made.close()
            raise
        return made

    def begins(self: Any, *given: Any, **named: Any) -> None:
        exchange = _CURRENT.get()
        if exchange is not None and self.sock is not None:  # it was kept from an earlier exchange
            exchange.watch(self.sock)
        kind.putrequest(self, *given, **named)

    return type(f"Watched{kind.__name__}", (kind,), {"_new_conn": connects, "putrequest": begins})


# For ``PoolManager.pool_classes_by_scheme``.
POOLS: Final[dict[str, Any]] = {
    "http": type("WatchedPool", (HTTPConnectionPool,), {"ConnectionCls": watched(HTTPConnection)}),
    "https": type("WatchedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": watched(HTTPSConnection)}),
}


def check_whole(status: int, headers: Mapping[str, str], length: int | None = None) -> None:
    """Raises ``StoreFailure`` for an answer that the network cut: read as it is, it would say that there is nothing.

    http.client takes a head without its end for a whole one. One that came whole says how long its body is (RFC 9112
    section 6.3, save for a body that ends with its connection, which no store sends). ``length`` is what came of the
    body, where nothing else has compared the two.
    """
    if status == NO_CONTENT or headers.get("transfer-encoding") == "chunked":
        return
    said = headers.get("content-length", "")
    if not said.isdecimal() or length not in (None, int(said)):
        raise StoreFailure("store_failing")


def has_ended(error: BaseException) -> bool:
    """Whether TLS failed because the connection had ended, which says nothing about a certificate."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended by itself
        return
