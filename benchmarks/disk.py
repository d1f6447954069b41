"""How long this disk takes to make a record durable: the floor of what a governed call can take."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Final

FRAME_BYTES: Final = 4096


def sync_p50_ms(folder: Path, count: int) -> float:
    """Median milliseconds of an appended frame with ``fdatasync``, in a file in ``folder``."""
    path = folder / "fdatasync.probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    frame, took = os.urandom(FRAME_BYTES), []
    try:
        for number in range(count):
            started = time.perf_counter()
            os.pwrite(descriptor, frame, number * FRAME_BYTES)
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(took) * 1e3
