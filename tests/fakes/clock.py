"""A clock that stands still until it is told to move."""

from __future__ import annotations

import asyncio


class HeldClock:
    """Starts at a round moment; ``advance`` moves both its clocks, and ``pause`` advances instead of waiting."""

    def __init__(self, now: int = 1_700_000_000_000_000, monotonic: float = 1000.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self.pauses: list[float] = []

    def advance(self, seconds: float) -> None:
        self._now += round(seconds * 1_000_000)
        self._monotonic += seconds

    def step(self, microseconds: int) -> None:
        """Put the wall clock forward, or back; the monotonic one stays."""
        self._now += microseconds

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)
