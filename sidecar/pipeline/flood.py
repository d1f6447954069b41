"""Bounds what an unauthenticated peer can write into the evidence.

The first refusals of a peer are recorded one by one; past that they are counted, and one record a second and reason
stands for all of them, so that nobody fills the disk. A peer that kept quiet for a second is recorded singly again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

SINGLY: Final = 10  # refusals of one peer in one window that are recorded one by one
WINDOW_SECONDS: Final = 1.0
PEERS: Final = 4096  # peers told apart; the rest share one count
OTHERS: Final = "others"


class Flood:
    """Counts refusals. ``counted``, by (peer, code), are those that no record stands for yet."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()
        self._before: Counter[str] = Counter()  # of the window before this one
        self._seen: Counter[str] = Counter()
        self._ends = 0.0

    def admits(self, peer: str, code: str, now: float) -> bool:
        """Whether this refusal is to be recorded on its own; otherwise it is counted. ``now`` in seconds."""
        if now >= self._ends:
            self._before = self._seen if now < self._ends + WINDOW_SECONDS else Counter()
            self._seen = Counter()
            self._ends = now + WINDOW_SECONDS
        host = self._told_apart(peer.rpartition(":")[0])
        self._seen[host] += 1
        if self._seen[host] <= SINGLY and self._before[host] <= SINGLY:
            return True
        self.counted[host, code] += 1
        return False

    def recorded(self, counted: tuple[str, str], count: int) -> None:
        """One durable record stands for ``count`` refusals of this peer and code now."""
        self.counted[counted] -= count
        if self.counted[counted] <= 0:
            del self.counted[counted]

    def _told_apart(self, host: str) -> str:
        return host if host in self._seen or max(len(self._seen), len(self.counted)) < PEERS else OTHERS
