from __future__ import annotations

import time

from sidecar.adapters.clock import SystemClock


def test_now_is_the_wall_clock() -> None:
    before = time.time()
    now = SystemClock().now() / 1_000_000
    assert before - 0.001 <= now <= time.time() + 0.001


def test_durations_ignore_the_wall_clock() -> None:
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()
