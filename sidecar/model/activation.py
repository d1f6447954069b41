"""The record of one activation of a policy: what was offered, by whom, from where, and what became of it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

ACTIVATED: Final = "activated"
REFUSED: Final = "refused"

# Who asks when nobody does: the source offers something else, or a start finds what was active before.
BY_SOURCE: Final = "source"


class Activation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a policy's history. ``time`` is microseconds (UTC epoch); ``number`` counts from 1.

    ``revision`` is what decisions carry, ``sha256:<hex>`` over all that decides, None where it could not be read.
    ``bundle`` is the digest of the bundle alone, which stays the same when the rules beside it are upgraded; ``name``
    and ``sequence`` are the bundle's own (its manifest's ``revision`` and ``metadata.sequence``). ``code`` and
    ``errors`` say why it was refused, ``file:line: message``.
    """

    number: int
    time: int
    outcome: str  # ACTIVATED | REFUSED
    origin: str
    by: str
    reason: str = ""  # why, in the words of who asked
    revision: str | None = None
    bundle: str | None = None
    name: str = ""
    sequence: int | None = None
    key: str = ""  # id of the key that signed it
    rollback: bool = False
    tests: int = 0  # of the bundle's own that passed
    cases: int = 0  # canaries that were decided as expected
    code: str = ""
    errors: tuple[str, ...] = ()
