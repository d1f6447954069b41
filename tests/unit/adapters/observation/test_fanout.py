from __future__ import annotations

from sidecar.adapters.observation.fanout import Observers
from tests.fakes.observer import RecordingObserver


def test_everyone_is_told() -> None:
    first, second = RecordingObserver(), RecordingObserver()
    Observers(first, second).observe("reload", {"outcome": "loaded"})
    assert first.events == second.events == [("reload", {"outcome": "loaded"})]


def test_nobody_is_fine() -> None:
    Observers().observe("reload", {})
