"""Rates counted in this process."""

from __future__ import annotations

from typing import Final

from sidecar.ports import Clock
from sidecar.rules.limits import gcra

_SWEEP_FROM: Final = 1024


class LocalCounter:
    """A ``Counter`` in memory. One number a key; keys whose rate is whole again are forgotten.

    At most ``limit`` keys are kept. Forgetting a key in use would give its caller a fresh burst, so beyond the limit
    new keys wait until another has recovered.
    """

    __slots__ = ("_arrivals", "_limit", "_monotonic", "_sweep_at")

    def __init__(self, clock: Clock, limit: int = 1 << 16) -> None:
        self._arrivals: dict[str, float] = {}
        self._limit = limit
        self._monotonic = clock.monotonic
        self._sweep_at = min(_SWEEP_FROM, limit)

    def __len__(self) -> int:
        return len(self._arrivals)

    async def take(self, key: str, per_second: float, burst: int) -> float | None:
        """None when taken; otherwise the seconds to wait (GCRA)."""
        now = self._monotonic()
        arrivals = self._arrivals
        tat = arrivals.get(key)
        if tat is None:
            if len(arrivals) >= self._sweep_at and not self._room(now):
                return max(min(arrivals.values()) - now, 1.0 / per_second)
            tat = 0.0
        arrivals = self._arrivals  # another one after a sweep
        arrivals[key], wait = gcra(tat, now, per_second, burst)
        return wait

    def _room(self, now: float) -> bool:
        """Forget what has recovered; the next sweep comes when the keys have doubled, so each costs a constant."""
        self._arrivals = {key: tat for key, tat in self._arrivals.items() if tat > now}
        kept = len(self._arrivals)
        self._sweep_at = min(max(_SWEEP_FROM, 2 * kept), self._limit)
        return kept < self._limit
