"""Bounds what an unauthenticated peer can write into the evidence.

The first refusals of a peer in each second are recorded one by one; past that they are counted, and one record a
second stands for all of them, so that nobody fills the disk.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

SINGLY: Final = 10  # refusals of one peer recorded one by one in one window
WINDOW_SECONDS: Final = 1.0
PEERS: Final = 4096  # peers told apart; the rest share one count
OTHERS: Final = "others"


class Flood:
    """Counts refusals by peer. ``counted`` are those that no record stands for yet."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._ends = 0.0

    def admits(self, peer: str, now: float) -> bool:
        """Whether this refusal is to be recorded on its own; otherwise it is counted. ``now`` in seconds."""
        if now >= self._ends:
            self._seen.clear()
            self._ends = now + WINDOW_SECONDS
        host = self._told_apart(peer.rpartition(":")[0])
        self._seen[host] += 1
        if self._seen[host] <= SINGLY:
            return True
        self.counted[host] += 1
        return False

    def recorded(self, peer: str, count: int) -> None:
        """One durable record stands for ``count`` refusals of ``peer`` now."""
        self.counted[peer] -= count
        if self.counted[peer] <= 0:
            del self.counted[peer]

    def _told_apart(self, host: str) -> str:
        known = host in self._seen or host in self.counted
        return host if known or max(len(self._seen), len(self.counted)) < PEERS else OTHERS
