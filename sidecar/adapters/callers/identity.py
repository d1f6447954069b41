"""Client certificates: one TLS context for each version of one, kept while calls may still use it.

A context holds the private key in OpenSSL's memory, which is the one place where a credential outlives its call: a
handshake needs it there, and so do resting connections. The version before the newest is kept as well, for calls
that resolved it before the rotation; anything older goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Credential
from sidecar.wire.tls import client_context

KEPT: Final = 2  # versions of a certificate at once
UNUSABLE: Final = (
    "The client certificate is no PEM of an unencrypted key and its certificate, or the connector's ca_file cannot "
    "be used."
)

Line = TypeVar("Line")


class Identities(Generic[Line]):
    """One connector's. ``make`` turns a context into what calls go over; ``end`` lets go of it."""

    def __init__(
        self, ca_file: Path | None, make: Callable[[ssl.SSLContext], Line], end: Callable[[Line], None]
    ) -> None:
        self._ca_file = ca_file
        self._make = make
        self._end = end
        self._lines: dict[bytes, Line] = {}
        self._making = asyncio.Lock()
        self._retired = False

    async def line(self, certificate: Credential) -> Line:
        """What calls with this certificate go over. Raises ``Unavailable("credential_unavailable")``."""
        pem = certificate.secret.reveal()
        key = hashlib.sha256(pem).digest()  # of a private key: nobody finds it by trying
        line = self._lines.get(key)
        if line is not None:
            return line
        async with self._making:
            line = self._lines.get(key)
            if line is None:
                try:
                    context = await asyncio.to_thread(client_context, self._ca_file, pem)
                except Misconfigured:  # whose words may name a file, which is nothing for agents
                    raise Unavailable("credential_unavailable", UNUSABLE) from None
                line = self._lines[key] = self._make(context)
                if self._retired:  # meanwhile: this call ends on it, and nobody comes after
                    self.retire()
                while len(self._lines) > KEPT:
                    self._end(self._lines.pop(next(iter(self._lines))))
        return line

    def retire(self) -> None:
        """Let go of every version, and keep none from now on."""
        self._retired = True
        while self._lines:
            self._end(self._lines.popitem()[1])

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every version's, the newest last."""
        return tuple(self._lines.values())
