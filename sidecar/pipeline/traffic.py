"""The live state of one connector: calls in flight, the circuit, and the statistics people ask for.

It outlives a reload of the configuration; its bounds come from the catalogue of the call.
"""

from __future__ import annotations

from sidecar.config.sections import ConnectorSection
from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import Statistics
from sidecar.rules.limits import CLOSED, Breaker, RetryBudget


class Traffic:
    """Counts of one connector since the process started, its circuit and its retry budget."""

    __slots__ = ("breaker", "calls", "errors", "in_flight", "last_error", "last_error_at", "retries")

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.retries = RetryBudget()
        self.in_flight = 0
        self.calls = 0
        self.errors = 0
        self.last_error: str | None = None  # a reason code
        self.last_error_at: int | None = None  # microseconds since the epoch

    def enter(self, section: ConnectorSection) -> None:
        """Take a place. Raises ``Refused("too_many_in_flight")``; a place taken is given back with ``leave``."""
        if self.in_flight >= section.concurrency:
            raise Refused(
                "too_many_in_flight", "The connector is serving as many calls as it may; try again.", retry_after=1.0
            )
        self.in_flight += 1

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    @property
    def is_closed(self) -> bool:
        """Whether the circuit lets everything through."""
        return self.breaker.state is CLOSED

    def check_circuit(self, section: ConnectorSection, now: float) -> None:
        """Raises ``Unavailable("circuit_open")`` early, while no probe may go out."""
        if self.breaker.wait(now, section.breaker.open_seconds) > 0:
            raise _circuit_open()

    def admit(self, section: ConnectorSection, now: float) -> None:
        """Let one exchange through. Raises ``Unavailable("circuit_open")``: nothing is sent then."""
        if not self.breaker.admits(now, section.breaker.open_seconds):
            raise _circuit_open()
        self.calls += 1
        self.retries.called()

    def failed(self, section: ConnectorSection, code: str, now: float, at: int) -> None:
        """The exchange failed at the upstream. ``now`` monotonic seconds, ``at`` microseconds since the epoch."""
        self.errors += 1
        self.last_error = code
        self.last_error_at = at
        self.breaker.failed(now, section.breaker.failures)

    def statistics(self) -> Statistics:
        """The counts as people see them."""
        return Statistics(
            calls=self.calls,
            errors=self.errors,
            in_flight=self.in_flight,
            circuit=self.breaker.state,
            last_error=self.last_error,
            last_error_at=self.last_error_at,
        )


def _circuit_open() -> Unavailable:
    return Unavailable("circuit_open", "Calls to this upstream failed in a row; new ones are paused for a while.")


def take_place(traffic: dict[str, Traffic], connector: str, section: ConnectorSection) -> Traffic:
    """A place among the calls in flight to ``connector``; give it back with ``leave``."""
    known = traffic.get(connector)
    if known is None:
        known = traffic[connector] = Traffic()
    known.enter(section)
    return known
