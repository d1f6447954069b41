"""Several observers as one."""

from __future__ import annotations

from typing import Any

from sidecar.ports import Observer


class Observers:
    """An ``Observer`` that tells each of its own, in order. None of them raises, so none misses an event."""

    __slots__ = ("_observers",)

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """Pass one event on; the fields are shared and must not be changed."""
        for observer in self._observers:
            observer.observe(event, fields)
