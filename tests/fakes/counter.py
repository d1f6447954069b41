"""Rates that are never reached, or always."""

from __future__ import annotations


class ScriptedCounter:
    """A ``Counter`` that takes until a key is put into ``waits``; ``taken`` is every key asked for, in order."""

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        self.taken: list[str] = []

    async def take(self, key: str, per_second: float, burst: int) -> float | None:
        self.taken.append(key)
        return self.waits.get(key)
