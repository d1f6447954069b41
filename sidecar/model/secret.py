"""The secret type: its every visible form is the mask.

``repr``, ``str``, ``format``, pickling and JSON give the mask or fail; the plain bytes come out through one
method with one name, so that a search for ``reveal`` finds every use.
"""

from __future__ import annotations

import hmac
from typing import NoReturn

MASK = "********"


class Secret:
    """Bytes that must not be shown. Equality is constant-time; secrets are not hashable and cannot be pickled."""

    __slots__ = ("_plain",)

    def __init__(self, plain: bytes | str) -> None:
        self._plain = plain.encode() if isinstance(plain, str) else plain

    def reveal(self) -> bytes:
        """The plain bytes. Call it only where they are put on the wire or sealed."""
        return self._plain

    def __len__(self) -> int:
        return len(self._plain)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._plain, other._plain)

    __hash__ = None  # type: ignore[assignment]  # a secret must not become a dictionary key that a dump shows

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out")
