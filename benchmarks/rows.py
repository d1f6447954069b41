"""What a run measures: rows for ``latest.json``, and figures that a row must reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Final, NamedTuple

import msgspec

PLAIN: Final = "plain-http"  # each subject as fast as it can
EVEN: Final = "5,000 a second"  # each subject at the same pace, or as fast as it can where that is less
EVEN_RATE: Final = 5000
GOVERNED, CACHED, ENVOY, AIOHTTP, BARE = "governed", "governed, cached", "envoy", "aiohttp", "bare uvloop"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One subject in one scenario. Null where a scenario does not measure it; ``rss_mb`` in MB of 10^6 bytes.

    In the start-up scenario one start takes the place of one call: its latencies are those until ready.
    """

    scenario: str
    subject: str
    connections: int
    rps: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us_per_call: float | None = None
    rss_mb: float | None = None


class Figure(NamedTuple):
    """A bound and what was measured; ``measured`` is None where it could not be, and ``note`` says why."""

    name: str
    bound: float
    measured: float | None
    unit: str
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the bound is kept; None when it was not measured."""
        return None if self.measured is None else self.measured <= self.bound


def medians(rows: Iterable[Row]) -> list[Row]:
    """One row for each scenario, subject and number of connections: the median of its rounds, field by field."""
    rounds: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        rounds[row.scenario, row.subject, row.connections].append(row)
    return [
        Row(
            scenario=scenario,
            subject=subject,
            connections=connections,
            rps=_median(row.rps for row in some),
            p50_ms=_median(row.p50_ms for row in some),
            p99_ms=_median(row.p99_ms for row in some),
            cpu_us_per_call=_median(row.cpu_us_per_call for row in some),
            rss_mb=_median(row.rss_mb for row in some),
        )
        for (scenario, subject, connections), some in rounds.items()
    ]


def find(rows: Iterable[Row], scenario: str, subject: str, connections: int) -> Row | None:
    """The row of one subject, or None."""
    key = (scenario, subject, connections)
    return next((row for row in rows if (row.scenario, row.subject, row.connections) == key), None)


def ratio(row: Row, to: Row | None, field: str) -> float | None:
    """``row``'s ``field`` as a multiple of ``to``'s; None where one of them has none."""
    mine, other = getattr(row, field), getattr(to, field, None)
    return mine / other if mine is not None and other else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
