"""How late this machine itself is: what a bare timer beside the measured process was promised against what it got."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.background import Background

_EVERY_SECONDS: Final = 0.25


class Lateness(Background):
    """A thread that only sleeps; ``longest_ms`` after the context is how much it overslept at most."""

    def __init__(self) -> None:
        super().__init__()
        self.longest_ms = 0.0

    def run(self) -> None:
        """Sleep, again and again."""
        while not self.stop.is_set():
            started = time.perf_counter()
            time.sleep(_EVERY_SECONDS)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - started - _EVERY_SECONDS) * 1e3)
