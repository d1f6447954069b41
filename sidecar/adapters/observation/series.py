"""Numbers that grow on the hot path, turned into Prometheus families only when they are scraped.

``prometheus_client``'s own counters take a lock and a label lookup each time: for one call with its four histograms
about 6 us on the event loop. These are a dictionary and a list, written by the event loop alone (0.8 us); a scrape in
another thread reads copies, and may see a call in one family that another family shows at the next scrape only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

OTHER: Final = "other"
SERIES_LIMIT: Final = 10_000


def _shown(value: object) -> str:
    """A label's value that cannot break the scrape of everything else; None is an absent label."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else ""


class Tally:
    """A counter by label values. Beyond ``limit`` series the rest count as ``other``: labels stay bounded."""

    __slots__ = ("_counts", "_limit", "_rest", "labels", "name", "text")

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), limit: int = SERIES_LIMIT) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._limit = limit
        self._rest = (OTHER,) * len(self.labels)
        self._counts: dict[tuple[str | None, ...], int] = {} if labels else {(): 0}

    def add(self, key: tuple[str | None, ...] = (), count: int = 1) -> None:
        """Count ``count`` more for these label values; None is an absent label."""
        counts = self._counts
        if key in counts:
            counts[key] += count
        elif len(counts) < self._limit:
            counts[key] = count
        else:
            counts[self._rest] = counts.get(self._rest, 0) + count

    def family(self) -> CounterMetricFamily:
        """What a scrape shows."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for key, count in list(self._counts.items()):
            family.add_metric([_shown(value) for value in key], count)
        return family


class Level:
    """A gauge by label values, as bounded as a ``Tally``; absent until it is first set."""

    __slots__ = ("_limit", "_values", "labels", "name", "text")

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), limit: int = SERIES_LIMIT) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._limit = limit
        self._values: dict[tuple[str, ...], float] = {}

    def set(self, value: float, key: tuple[str, ...] = ()) -> None:
        """The value from now on for these label values."""
        if key in self._values or len(self._values) < self._limit:
            self._values[key] = float(value)

    def drop(self, key: tuple[str, ...]) -> None:
        """What these label values stood for is gone."""
        self._values.pop(key, None)

    def family(self) -> GaugeMetricFamily:
        """What a scrape shows."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for key, value in list(self._values.items()):
            family.add_metric([_shown(part) for part in key], value)
        return family


class _Cells:
    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0


class Spread:
    """A histogram by one label or none. ``bounds`` are the buckets' upper edges in seconds, without infinity."""

    __slots__ = ("_bounds", "_cells", "_limit", "label", "name", "text")

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], label: str | None = None, limit: int = SERIES_LIMIT
    ) -> None:
        self.name = name
        self.text = text
        self.label = label
        self._bounds = list(bounds)
        self._limit = limit
        self._cells: dict[str, _Cells] = {} if label else {"": _Cells(len(self._bounds) + 1)}

    def add(self, seconds: float, value: str = "") -> None:
        """One observation; ``value`` is the label's."""
        cells = self._cells.get(value) or self._more(value)
        cells.counts[bisect_left(self._bounds, seconds)] += 1
        cells.total += seconds

    def _more(self, value: str) -> _Cells:
        if len(self._cells) >= self._limit:
            value = OTHER
        return self._cells.setdefault(value, _Cells(len(self._bounds) + 1))

    def family(self) -> HistogramMetricFamily:
        """What a scrape shows."""
        family = HistogramMetricFamily(self.name, self.text, labels=[self.label] if self.label else [])
        edges = [*(repr(bound) for bound in self._bounds), "+Inf"]
        for value, cells in list(self._cells.items()):
            buckets = list(zip(edges, map(float, accumulate(cells.counts)), strict=True))
            family.add_metric([_shown(value)] if self.label else [], buckets, cells.total)
        return family
