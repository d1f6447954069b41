"""Rates counted with whole fractions, as a bucket that refills: another arithmetic than the real one."""

from __future__ import annotations

from fractions import Fraction

from sidecar.ports import Clock


class BucketCounter:
    """A ``Counter``; ``taken`` is every key asked for, in order, and a key in ``waits`` is refused for so long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[Fraction, Fraction]] = {}
        self.waits: dict[str, float] = {}
        self.taken: list[str] = []

    async def take(self, key: str, per_second: float, burst: int) -> float | None:
        self.taken.append(key)
        if key in self.waits:
            return self.waits[key]
        now, rate = Fraction(self._clock.monotonic()), Fraction(per_second)
        tokens, since = self._buckets.get(key, (Fraction(burst), now))
        tokens = min(Fraction(burst), tokens + max(now - since, Fraction(0)) * rate)
        if tokens < 1:
            self._buckets[key] = (tokens, now)
            return float((1 - tokens) / rate)
        self._buckets[key] = (tokens - 1, now)
        return None
