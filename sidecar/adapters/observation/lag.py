"""How late the event loop is: what a timer was promised against when it ran."""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.ports import Observer

SAMPLE_SECONDS: Final = 0.25


class LoopLag:
    """Four times a second tells ``observer`` the event ``loop`` with ``lag_seconds``, from ``start`` to ``stop``."""

    def __init__(self, observer: Observer, every: float = SAMPLE_SECONDS) -> None:
        self._observer = observer
        self._every = every
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._plan(asyncio.get_running_loop())

    def stop(self) -> None:
        """End; harmless when not started."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._every
        self._timer = loop.call_at(due, self._sample, loop, due)

    def _sample(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observer.observe("loop", {"lag_seconds": max(0.0, loop.time() - due)})
        self._plan(loop)
