"""Lines written to a file descriptor by a thread, so that a slow reader of the log never stops the event loop.

Evidence is the durable record; a log line may be lost, but not silently: what does not fit the queue is counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Final

QUEUE_LINES: Final = 8192
_GATHER_SECONDS: Final = 0.02  # one write, and one switch of threads, for all lines of this time


class LineWriter:
    """A bounded queue of lines, and the thread that writes them to ``descriptor`` (left open by ``close``)."""

    def __init__(self, descriptor: int, limit: int = QUEUE_LINES) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._asleep = True
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.dropped = 0
        self._worker = threading.Thread(target=self._run, name="log", daemon=True)
        self._worker.start()

    def put(self, line: bytes) -> None:
        """Queue one line, its newline included; from any thread, without waiting."""
        if len(self._lines) >= self._limit:
            self.dropped += 1
            return
        self._lines.append(line)
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued, for at most ``timeout`` seconds; what a stuck reader leaves is dropped."""
        self._stop.set()
        self._wake.set()
        self._worker.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._stop.wait(_GATHER_SECONDS)
            self._asleep = True  # before the queue is read: a line that comes now wakes the thread once more
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        lines = self._lines
        batch = [lines.popleft() for _ in range(len(lines))]
        rest = memoryview(b"".join(batch))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody made the descriptor non-blocking
                select.select((), (self._descriptor,), (), 1.0)
            except OSError:
                self.dropped += len(batch)
                return
