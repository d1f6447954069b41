"""Rates, the circuit breaker and the rule for trying again: arithmetic on a time that is handed in.

The breaker, a table of (state, what happened) -> next state; what is not in it changes nothing:

=========== ============ ===========
state       happening    next state
=========== ============ ===========
closed      tripped      open        one failure too many in a row
open        rested       half_open   ``open_seconds`` have passed; one call goes out as the probe
half_open   succeeded    closed      the probe came back
half_open   failed       open        it did not
half_open   rested       half_open   the probe was never heard of again: another one goes out
=========== ============ ===========

Times are monotonic seconds (L05), rates are per second.
"""

from __future__ import annotations

from typing import Final

from sidecar.config.sections import Retry
from sidecar.errors import UpstreamFailure

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


def gcra(tat: float, now: float, rate: float, burst: int) -> tuple[float, float | None]:
    """Take one from a rate: the next theoretical arrival time, and the seconds to wait where nothing was taken.

    The generic cell rate algorithm (ITU-T I.371): a call conforms while its theoretical arrival time is at most
    ``burst - 1`` intervals ahead of ``now``. Any window of t seconds passes at most ``burst + rate * t`` (L03), which
    a fixed window does not hold at its edge. ``tat`` starts at 0.0. One that is further ahead than any burst of this
    rate can bring it is of a slower rate, which was raised since: all it costs is the burst. Keep what is returned.
    """
    interval = 1.0 / rate
    start = tat if tat > now else now
    wait = start - now - (burst - 1) * interval
    # Sums of intervals drift by some ulps of a large clock value; a nanosecond is below any rate that can be set.
    if wait > 1e-9:
        spent = now + burst * interval
        return (spent, interval) if tat > spent + 1e-9 else (tat, wait)
    return start + interval, None


class Breaker:
    """The circuit breaker of one connector. The bounds are handed in, so that a reload changes them in place.

    Every call that ``admits`` let through ends in ``succeeded``, ``failed`` or ``released``. A probe that ends in
    none of them blocks the circuit for ``open_seconds`` only.
    """

    __slots__ = ("_in_a_row", "_since", "state")

    def __init__(self) -> None:
        self._in_a_row = 0
        self._since = 0.0
        self.state = CLOSED

    def _happen(self, happening: str, now: float) -> None:
        after = TRANSITIONS.get((self.state, happening))
        if after is not None:
            self.state = after
            self._since = now
            self._in_a_row = 0

    def admits(self, now: float, open_seconds: float) -> bool:
        """Whether a call may go out; True once, for the probe, when the circuit has rested."""
        if self.state is CLOSED:
            return True
        if now - self._since < open_seconds:
            return False
        self._happen("rested", now)
        return True

    def wait(self, now: float, open_seconds: float) -> float:
        """Seconds until a probe may go out; 0.0 while closed."""
        return 0.0 if self.state is CLOSED else max(0.0, self._since + open_seconds - now)

    def succeeded(self) -> None:
        """The upstream answered."""
        self._in_a_row = 0
        self._happen("succeeded", self._since)

    def failed(self, now: float, failures: int) -> None:
        """A call failed for a reason that lies with the upstream. ``failures`` in a row open the circuit."""
        self._in_a_row += 1
        self._happen("failed", now)
        if self._in_a_row >= failures:
            self._happen("tripped", now)

    def released(self) -> None:
        """A call ended without a word about the upstream (cancelled, refused by us): the next may be the probe."""
        if self.state is HALF_OPEN:
            self._since = float("-inf")


def retry_pause(
    retry: Retry, attempt: int, failure: UpstreamFailure, idempotent: bool, chance: float
) -> float | None:
    """Seconds to pause before trying again after failed try ``attempt`` (from 1), or None where that must not be.

    A request of which no byte can have reached the upstream may always be sent again, any other only where it is
    idempotent (RFC 9110 section 9.2.2). The pause has full jitter under a bound that doubles with each try;
    ``chance`` is a random number in [0, 1), handed in.
    """
    if attempt >= retry.attempts or (failure.sent and not idempotent):
        return None
    return chance * retry.backoff_seconds * float(1 << (attempt - 1))


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
