"""Why a door does not open, and what to do about it."""

from __future__ import annotations

import errno
import os
from typing import Final

from aiohttp import http_parser

from sidecar.errors import Misconfigured

_NEXT: Final = {
    errno.EADDRINUSE: "Another program listens there, perhaps another sidecar: stop it, or set another port",
    errno.EADDRNOTAVAIL: "This machine does not have that address: set one that it has",
    errno.EACCES: "That port is not for every user: set one above 1023",
}


def check_parser() -> None:
    """aiohttp falls back to a parser in Python without a word, and most known ways to smuggle a request past aiohttp
    were through that one. Raises ``Misconfigured`` where it did (H24).
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise Misconfigured(
            "aiohttp would read requests with its parser in Python instead of llhttp. Unset AIOHTTP_NO_EXTENSIONS, "
            "or install aiohttp from a wheel built for this platform"
        )


def cannot_listen(field: str, host: str, port: int, error: OSError) -> Misconfigured:
    """The refusal to start: ``field`` is the setting, such as ``doors.metrics``; ``error`` what the system said."""
    step = _NEXT.get(error.errno or 0)
    if step is None:
        return Misconfigured(f"{field}: cannot listen on {host}:{port}: {error.strerror}")
    words = os.strerror(error.errno or 0)  # the event loop's own repeat the address
    return Misconfigured(f"{field}: cannot listen on {host}:{port}: {words}. {step}")
