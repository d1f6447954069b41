"""Bounds what an unauthenticated peer can write into the evidence.

The first refusals of a peer are recorded one by one; past that they are counted, and one record a second stands for
all of them, so that nobody fills the disk.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

SINGLY: Final = 10  # refusals of one peer recorded one by one in one window
WINDOW_SECONDS: Final = 1.0
PEERS: Final = 4096  # peers told apart in one window; the rest share one count
OTHERS: Final = "others"


class Flood:
    """Counts refusals by peer in windows of a second."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._ends = 0.0

    def admits(self, peer: str, now: float) -> bool:
        """Whether this refusal is to be recorded on its own; otherwise it is counted. ``now`` in seconds."""
        if now >= self._ends and not self._pending():
            self._seen.clear()
            self._ends = now + WINDOW_SECONDS
        host = peer.rpartition(":")[0]
        if host not in self._seen and len(self._seen) >= PEERS:
            host = OTHERS
        self._seen[host] += 1
        return self._seen[host] <= SINGLY

    def drain(self, now: float) -> dict[str, int]:
        """Counts by peer that no record stands for yet, once the window has ended; starts the next window."""
        if now < self._ends or not self._seen:
            return {}
        counted = self._pending()
        self._seen.clear()
        self._ends = now + WINDOW_SECONDS
        return counted

    def _pending(self) -> dict[str, int]:
        return {peer: seen - SINGLY for peer, seen in self._seen.items() if seen > SINGLY}
