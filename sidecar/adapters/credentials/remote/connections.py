"""The connections to stores: each tells the exchange that it is used in, and only a whole answer is one.

Both libraries that speak to stores stand on urllib3.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sidecar.adapters.credentials.remote.exchanges import current
from sidecar.adapters.credentials.remote.store import StoreFailure

NO_CONTENT: Final = 204


def watched(kind: Any) -> Any:
    """A class of urllib3 connections like ``kind``, which tell the exchange that they are used in."""

    def connects(self: Any) -> socket.socket:
        exchange = current()
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
        exchange = current()
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
