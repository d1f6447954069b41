"""How often each API key was used since the process started, and when last: which one nobody needs any more.

What a key was used for is in evidence; a count for people costs no write on the way of a call.
"""

from __future__ import annotations

from typing import NamedTuple


class Use(NamedTuple):
    """``last`` in microseconds since the epoch."""

    times: int
    last: int | None


NEVER = Use(0, None)


class Uses:
    """Only keys that proved somebody are noted, so there are never more than were made."""

    __slots__ = ("_uses",)

    def __init__(self) -> None:
        self._uses: dict[str, Use] = {}

    def note(self, key: str | None, now: int) -> None:
        """A key, by its id, proved who asks; None where something else did."""
        if key is not None:
            self._uses[key] = Use(self._uses.get(key, NEVER).times + 1, now)

    def of(self, key: str) -> Use:
        """What is known of a key."""
        return self._uses.get(key, NEVER)
