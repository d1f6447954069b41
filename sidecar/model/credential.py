"""What is injected, by reference."""

from __future__ import annotations

from msgspec import Struct

from sidecar.model.secret import Secret


class Reference(Struct, frozen=True):
    """Where a secret lives: ``vault://path#field``, ``aws://name#field``, ``encrypted://id`` or ``env://NAME``.

    ``version`` is what stands after an ``@``: a version or a stage, None for the newest.
    """

    scheme: str
    locator: str
    field: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        return f"{self.scheme}://{self.locator}{version}" + (f"#{self.field}" if self.field else "")


class Binding(Struct, frozen=True, kw_only=True):
    """A configured credential: its reference, and the only places it may be used."""

    id: str
    reference: Reference
    hosts: tuple[str, ...]  # host:port, canonical
    connectors: tuple[str, ...]
    positions: tuple[str, ...]  # bearer | basic | header | query | body | certificate


class Credential(Struct, frozen=True):
    """A resolved secret with the version that evidence names.

    ``kind`` is one of ``sidecar.rules.credential_types``, None where its source does not know; ``expires`` is in
    microseconds since the epoch, None where it is not known to end.
    """

    secret: Secret
    version: str
    kind: str | None = None
    expires: int | None = None
