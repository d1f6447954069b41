"""Bounds in time for many connections with one timer.

A timer per request costs more than the rest of its bookkeeping. Deadlines mostly move later (each answer sets the
next one), so one timer at the earliest deadline ever noted is enough: when it fires, what is due expires and the
timer is set to the earliest that is left. Nothing expires early, and nothing more than a millisecond late.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

_ROUNDING: Final = 0.001  # event loops keep timers in whole milliseconds


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase of an exchange; ``total`` bounds them together.

    ``connect`` covers waiting for a free connection, dialling and the TLS handshake; ``head`` runs from the sent
    request to the answer's head; ``idle`` between two pieces of the answer's body.
    """

    connect: float = 3.0
    head: float = 15.0
    idle: float = 15.0
    total: float = 30.0


class Expiring(Protocol):
    """Something with a ``deadline`` on the loop's clock (``math.inf``: none)."""

    @property
    def deadline(self) -> float:
        """When it is due."""

    def expire(self) -> None:
        """It is due. Must move its deadline, or leave."""


class Deadlines:
    """Watches its members' deadlines. Call ``note`` whenever one is set."""

    __slots__ = ("_loop", "_members", "_timer", "next")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._members: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.next = inf  # earliest moment the timer will look

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Expiring) -> None:
        """Watch one more."""
        self._members.add(member)

    def discard(self, member: Expiring) -> None:
        """Watch it no longer."""
        self._members.discard(member)
        if not self._members:
            self.close()

    def note(self, deadline: float) -> None:
        """Make sure to look at ``deadline`` or before."""
        if deadline < self.next:
            self._set(deadline)

    def close(self) -> None:
        """Stop the timer."""
        self._set(inf)

    def _set(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.next = moment
        self._timer = self._loop.call_at(moment, self._look) if moment < inf else None

    def _look(self) -> None:
        due = self._loop.time() + _ROUNDING
        for member in tuple(self._members):
            if member.deadline <= due:
                member.expire()
        self._set(min((member.deadline for member in self._members), default=inf))
