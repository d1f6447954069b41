"""What people see of a connector."""

from __future__ import annotations

import pytest

from sidecar.model.registry import CONNECTED, ERROR, READY, Statistics


@pytest.mark.parametrize(
    ("statistics", "status"),
    [
        (Statistics(), READY),
        (Statistics(calls=1), CONNECTED),
        (Statistics(calls=9, errors=9, circuit="open"), ERROR),
        (Statistics(circuit="half_open"), ERROR),
        (Statistics(calls=9, errors=3, circuit="closed"), CONNECTED),
    ],
)
def test_the_status_follows_from_what_was_counted(statistics: Statistics, status: str) -> None:
    assert statistics.status == status
