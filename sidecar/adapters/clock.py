"""The machine's clocks."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The wall clock for records, the monotonic clock for durations and limits (L05)."""

    __slots__ = ()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def pause(self, seconds: float) -> None:
        """Wait, letting other calls go on."""
        await asyncio.sleep(seconds)
