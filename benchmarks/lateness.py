"""How late this machine itself is: what a bare timer beside the measured process was promised against what it got."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

_EVERY_SECONDS: Final = 0.25


class Lateness:
    """A thread that only sleeps; ``longest_ms`` after the context is how much it overslept at most."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.perf_counter()
            time.sleep(_EVERY_SECONDS)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - started - _EVERY_SECONDS) * 1e3)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
