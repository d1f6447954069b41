"""Names answered from a table."""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.errors import Unavailable
from sidecar.model.hosts import is_ip_literal


class TableResolver:
    """A ``Resolver`` over a dictionary; ``asked`` is every name it was asked for, in order."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self.names = dict(names)
        self.asked: list[str] = []

    async def resolve(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        if is_ip_literal(name):
            return (name,)
        if name not in self.names:
            raise Unavailable("destination_forbidden", f"{name} could not be looked up.")
        return self.names[name]
