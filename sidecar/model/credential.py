"""What is injected, by reference."""

from __future__ import annotations

from typing import Literal

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


class Terms(Struct, frozen=True, kw_only=True):
    """What an administrator says of a credential beside its value.

    ``kind`` is one of ``sidecar.rules.credential_types`` (None: nobody said). ``expires``, in microseconds since the
    epoch, is the end of this very value: another value has another end. ``rotate_days``: it is to be rotated every so
    many days, None where nobody promised.
    """

    kind: str | None = None
    expires: int | None = None
    rotate_days: int | None = None


class About(Struct, frozen=True, kw_only=True):
    """What may be shown of a stored credential; never a value, nor anything made from one.

    ``reference`` names no version; of a list it names no field either where a store keeps several fields together
    (``vault://``, ``aws://``), which have one version and one set of terms. ``version`` is what a change is made
    over; a credential that is broken has the version ``broken``, and is stored anew or deleted over that.
    ``created`` and ``updated`` (of the value, not of the terms) are UTC, RFC 3339, None where the store does not
    say. ``expires`` is the earlier of what was said and of what the value itself says (a certificate).
    """

    reference: Reference
    kind: str | None
    version: str
    created: str | None = None
    updated: str | None = None
    expires: int | None = None
    rotate_days: int | None = None
    state: Literal["ok", "broken"] = "ok"  # broken: it is there, and does not open
    changeable: bool = True  # False: whoever lends or declares it changes it


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
