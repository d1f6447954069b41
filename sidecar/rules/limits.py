"""Rates, the circuit breaker and the rule for trying again: arithmetic on a time that is handed in.

The breaker, a table of (state, what happened) -> next state; what is not in it changes nothing:

=========== ============ ===========
state       happening    next state
=========== ============ ===========
closed      tripped      open        the last of ``failures`` failures in a row
open        rested       half_open   ``open_seconds`` have passed; one call goes out as the probe
half_open   succeeded    closed      the probe came back
half_open   failed       open        it did not
half_open   rested       half_open   the probe was never heard of again: another one goes out
=========== ============ ===========

Times are monotonic seconds (L05), rates are per second.
"""

from __future__ import annotations

from typing import Final

from sidecar.config.sections import Rate

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

TRANSITIONS: Final = {
    (CLOSED, "tripped"): OPEN,
    (OPEN, "rested"): HALF_OPEN,
    (HALF_OPEN, "succeeded"): CLOSED,
    (HALF_OPEN, "failed"): OPEN,
    (HALF_OPEN, "rested"): HALF_OPEN,
}

# RFC 9110 section 9.2.2; TRACE is idempotent too, but never sent.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

# Answers by which a gateway says that the service behind it is not there.
FAILING_STATUSES: Final = frozenset({502, 503, 504})

_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


def per_second(rate: Rate) -> float:
    """A configured rate in requests per second."""
    return rate.requests / _SECONDS[rate.per]


def gcra(tat: float, now: float, rate: float, burst: int) -> tuple[float, float | None]:
    """Take one from a rate: the next theoretical arrival time, and the seconds to wait where nothing was taken.

    The generic cell rate algorithm (ITU-T I.371): a call conforms while its theoretical arrival time is at most
    ``burst - 1`` intervals ahead of ``now``. Any window of t seconds passes at most ``burst + rate * t`` (L03), which
    a fixed window does not hold at its edge. ``tat`` starts at 0.0; a clock that goes back only makes callers wait.
    """
    interval = 1.0 / rate
    start = tat if tat > now else now
    wait = start - now - (burst - 1) * interval
    # Sums of intervals drift by some ulps of a large clock value; a nanosecond is below any rate that can be set.
    if wait > 1e-9:
        return tat, wait
    return start + interval, None


class Breaker:
    """The circuit breaker of one connector.

    ``admit`` gives a ticket; exactly one of ``succeeded``, ``failed`` and ``released`` takes it back. A ticket of an
    earlier state changes nothing: a call that began before the circuit opened does not decide about the probe.
    """

    __slots__ = ("_failures", "_in_a_row", "_open_seconds", "_since", "_ticket", "state")

    def __init__(self, failures: int, open_seconds: float) -> None:
        self._failures = failures
        self._open_seconds = open_seconds
        self._in_a_row = 0
        self._since = 0.0
        self._ticket = 0
        self.state = CLOSED

    def _move(self, happening: str, now: float) -> None:
        self.state = TRANSITIONS[self.state, happening]
        self._since = now
        self._in_a_row = 0
        self._ticket += 1

    def admit(self, now: float) -> int | None:
        """A ticket for one call, or None while the circuit is open or its probe is out."""
        if self.state is not CLOSED:
            if now - self._since < self._open_seconds:
                return None
            self._move("rested", now)
        return self._ticket

    def retry_after(self, now: float) -> float:
        """Seconds until the next probe may go out; 0.0 while closed."""
        return 0.0 if self.state is CLOSED else max(0.0, self._since + self._open_seconds - now)

    def succeeded(self, ticket: int, now: float) -> None:
        """The call of this ticket was answered."""
        if ticket != self._ticket:
            return
        self._in_a_row = 0
        if self.state is HALF_OPEN:
            self._move("succeeded", now)

    def failed(self, ticket: int, now: float) -> None:
        """The call of this ticket failed for a reason that lies with the upstream."""
        if ticket != self._ticket:
            return
        self._in_a_row += 1
        if self.state is HALF_OPEN:
            self._move("failed", now)
        elif self._in_a_row >= self._failures:
            self._move("tripped", now)

    def released(self, ticket: int) -> None:
        """The call of this ticket says nothing about the upstream (cancelled, refused by us): probe again at once."""
        if ticket == self._ticket and self.state is HALF_OPEN:
            self._since = float("-inf")


def is_idempotent(method: str, declared: bool | None = None) -> bool:
    """Whether a request may reach the upstream twice; what an operation declares goes before its method."""
    return method in IDEMPOTENT if declared is None else declared


def may_retry(method: str, attempt: int, attempts: int, *, sent: bool, declared: bool | None = None) -> bool:
    """Whether try number ``attempt`` (from 1), which failed, may be followed by another.

    A request of which no byte can have reached the upstream may always be sent again; any other only where it is
    idempotent (RFC 9110 section 9.2.2).
    """
    return attempt < attempts and (not sent or is_idempotent(method, declared))


def backoff(attempt: int, first: float, chance: float) -> float:
    """Seconds to pause after failed try ``attempt`` (from 1): full jitter under a bound that doubles each time.

    ``chance`` is a random number in [0, 1), handed in.
    """
    return chance * first * (1 << (attempt - 1))


class RetryBudget:
    """Holds retries to a share of the calls, so that a flapping upstream is not flooded (L07).

    Every call adds ``share``, every retry takes one; ``reserve`` retries are there at the start and are the most that
    can be saved up.
    """

    __slots__ = ("_left", "_reserve", "_share")

    def __init__(self, share: float = 0.1, reserve: float = 10.0) -> None:
        self._share = share
        self._reserve = reserve
        self._left = reserve

    def called(self) -> None:
        """A call was begun."""
        self._left = min(self._reserve, self._left + self._share)

    def take(self) -> bool:
        """Whether one more retry is within the budget; takes it if so."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
