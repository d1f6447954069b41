"""What people see of a connector."""

from __future__ import annotations

from msgspec import Struct

READY, CONNECTED, ERROR = "ready", "connected", "error"


class Statistics(Struct, frozen=True, kw_only=True):
    """Counts of one connector since the process started. ``last_error_at`` in microseconds since the epoch."""

    calls: int = 0
    errors: int = 0
    in_flight: int = 0
    circuit: str = "closed"
    last_error: str | None = None
    last_error_at: int | None = None

    @property
    def status(self) -> str:
        """``error`` while the circuit is not closed, ``connected`` after the first exchange, else ``ready``."""
        if self.circuit != "closed":
            return ERROR
        return CONNECTED if self.calls else READY


class ConnectorView(Struct, frozen=True, kw_only=True):
    """A configured connector as lists show it. Nothing in it is secret: the credential is a reference."""

    id: str
    kind: str
    status: str
    base_url: str
    credential: str | None
    labels: dict[str, str]
    operations: tuple[str, ...]
    statistics: Statistics
