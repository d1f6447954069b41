"""What is kept of a remote secret between calls: ciphertext, its key, and how long it may be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.adapters.credentials.remote.store import Fetched, Loan
from sidecar.rules.credential_terms import earlier
from sidecar.rules.credential_types import ends
from sidecar.rules.sealing import Opener, Sealer

RENEWED_AT: Final = 2 / 3  # of the time it may be used for


class Held:
    """One fetched place. ``asked``, ``due`` and ``until`` are moments of the monotonic clock, in seconds.

    Between ``due`` and ``until`` it serves and is to be renewed; from ``until`` on it is never used.
    """

    __slots__ = ("asked", "due", "ends", "fields", "kind", "loan", "seconds", "until", "used", "version")

    def __init__(
        self, fields: Mapping[str, Opener], ends: Mapping[str, int | None], fetched: Fetched, asked: float
    ) -> None:
        self.fields = fields
        self.ends = ends  # by field, microseconds since the epoch: what was said, or a certificate's own, if earlier
        self.version = fetched.version
        self.kind = fetched.kind
        self.loan: Loan | None = fetched.loan
        self.seconds = fetched.seconds  # the time it was first given
        self.used = False  # since it was fetched or renewed
        self.asked = self.due = self.until = asked
        self.extend(asked, fetched.seconds)

    def extend(self, asked: float, seconds: float) -> None:
        """It may be used for ``seconds`` from ``asked`` on."""
        self.asked = asked
        self.due = asked + seconds * RENEWED_AT
        self.until = asked + seconds


class Vessel:
    """Seals what is held under one key of this process; the plain bytes are let go at once."""

    def __init__(self, key: bytes) -> None:
        self._sealer = Sealer(key)

    def held(self, place: str, fetched: Fetched, asked: float) -> Held:
        """``fetched`` without its plain bytes. Each field is bound to its name and place: none opens as another."""
        fields, over = {}, {}
        for name, secret in fetched.fields.items():
            context = f"{place}\0{name}\0{fetched.version}".encode()
            fields[name] = self._sealer.keep(secret.reveal(), context)
            over[name] = earlier(fetched.expires, ends(fetched.kind, secret.reveal()))
        return Held(fields, over, fetched, asked)
