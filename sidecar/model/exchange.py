"""The request that leaves and the answer that returns, as values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from msgspec import Struct

from sidecar.model.credential import Credential


class Destination(Struct, frozen=True):
    """Where a connection may go: the canonical name, and the addresses that were checked for it."""

    scheme: str  # http | https
    host: str
    port: int
    addresses: tuple[str, ...]


class Outbound(NamedTuple):
    """One request to an upstream. Header names are lower-case; the credential is already among them.

    The operation's bounds travel with it; the permit's obligations can only make them smaller.
    """

    method: str
    target: str  # origin-form: path and query, percent-encoded
    headers: list[tuple[bytes, bytes]]
    body: bytes
    max_bytes: int = 1 << 20  # of the answer's body
    stream: bool = False  # hand the answer's body over while it arrives
    timeout: float | None = None  # seconds for the whole exchange; None: the connector's
    certificate: Credential | None = None  # PEM key and chain that prove us to the upstream (mutual TLS)


class Inbound(NamedTuple):
    """One answer of an upstream. ``body`` is bytes, or an iterator where the operation streams."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes]
    peer: str  # the address that answered
