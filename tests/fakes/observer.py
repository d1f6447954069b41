"""What was observed, kept."""

from __future__ import annotations

from typing import Any


class RecordingObserver:
    """An ``Observer`` whose ``events`` are what it was told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        self.events.append((event, dict(fields)))

    def named(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]
