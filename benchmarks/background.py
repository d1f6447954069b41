"""What goes on beside a measured load, in a thread that lasts as long as its context."""

from __future__ import annotations

import threading
from typing import Self


class Background:
    """``run`` is what it does, until ``stop`` is set; the end of the context sets it and waits."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Called once, in the thread."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()
