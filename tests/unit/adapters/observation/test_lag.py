from __future__ import annotations

import asyncio
import time
from typing import Any

from sidecar.adapters.observation.lag import LoopLag


class Lags:
    """An observer whose samples can be waited for."""

    def __init__(self) -> None:
        self.samples: asyncio.Queue[float] = asyncio.Queue()

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        assert event == "loop"
        self.samples.put_nowait(fields["lag_seconds"])

    async def next(self) -> float:
        async with asyncio.timeout(10):
            return await self.samples.get()


async def test_a_blocked_loop_shows() -> None:
    lags = Lags()
    lag = LoopLag(lags, every=0.01)
    lag.start()
    await lags.next()
    time.sleep(0.08)  # noqa: ASYNC251  # the blocking call that is to be noticed
    assert await lags.next() >= 0.05
    lag.stop()


async def test_lag_is_never_negative_and_ends_with_stop() -> None:
    lags, others = Lags(), Lags()
    lag, other = LoopLag(lags, every=0.001), LoopLag(others, every=0.001)
    lag.start()
    assert min([await lags.next() for _ in range(5)]) >= 0.0
    lag.stop()
    taken = lags.samples.qsize()
    other.start()
    for _ in range(5):
        await others.next()
    other.stop()
    other.stop()
    assert lags.samples.qsize() == taken
