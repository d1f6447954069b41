"""The secret type: its every visible form is the mask.

``repr``, ``str``, ``format`` and JSON made with ``default=str`` give the mask; pickling, copying, encoding, hashing
and reading its state fail. The plain bytes come out through one method with one name, so that a search for
``reveal`` finds every use. What Python cannot promise is that the bytes leave the memory once the last name for them
is gone.
"""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, final

MASK: Final = "********"
SHORTEST: Final = 4  # bytes; anything shorter cannot be told from ordinary text when an answer is scrubbed


@final
class Secret:
    """Bytes that must not be shown. Frozen; equality takes constant time; neither hashed, copied nor pickled.

    Text is held as its UTF-8. Raises ``TypeError`` for anything but bytes and text.
    """

    __slots__ = ("_plain",)
    _plain: bytes

    def __init__(self, plain: bytes | str) -> None:
        if isinstance(plain, str):
            plain = plain.encode()
        elif type(plain) is not bytes:
            raise TypeError("a secret is made of bytes or text")
        object.__setattr__(self, "_plain", plain)

    def reveal(self) -> bytes:
        """The plain bytes. Call it only where they are put on the wire, sealed or scrubbed."""
        return self._plain

    def __len__(self) -> int:
        return len(self._plain)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._plain, other._plain)

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret is not hashed: as a dictionary's key it would be found by trying")

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret is frozen")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out")
