"""The live state of a connector."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.config.sections import ConnectorSection
from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import Statistics
from sidecar.pipeline.traffic import Traffic, take_place

SECTION = msgspec.convert(
    {
        "kind": "http",
        "base_url": "https://api.example",
        "concurrency": 2,
        "breaker": {"failures": 2, "open_seconds": 5.0},
    },
    ConnectorSection,
)


def test_places_are_counted_and_given_back() -> None:
    known: dict[str, Traffic] = {}
    first, second = take_place(known, "crm", SECTION), take_place(known, "crm", SECTION)
    assert first is second
    with pytest.raises(Refused) as refused:
        take_place(known, "crm", SECTION)
    assert refused.value.code == "too_many_in_flight"
    assert refused.value.retry_after
    assert first.in_flight == 2
    first.leave()
    take_place(known, "crm", SECTION)
    take_place(known, "other", SECTION)


def test_the_circuit_opens_after_failures_in_a_row_and_rests() -> None:
    traffic = Traffic()
    for _ in range(2):
        traffic.check_circuit(SECTION, 10.0)
        traffic.admit(SECTION, 10.0)
        traffic.failed(SECTION, "upstream_timeout", 10.0, 99)
    assert not traffic.is_closed
    for step in (traffic.check_circuit, traffic.admit):
        with pytest.raises(Unavailable) as unavailable:
            step(SECTION, 14.9)
        assert unavailable.value.code == "circuit_open"
    traffic.check_circuit(SECTION, 15.0)
    traffic.admit(SECTION, 15.0)
    with pytest.raises(Unavailable):
        traffic.admit(SECTION, 15.0)
    traffic.breaker.succeeded()
    assert traffic.is_closed


def test_statistics() -> None:
    traffic = Traffic()
    assert traffic.statistics() == Statistics()
    traffic.enter(SECTION)
    traffic.admit(SECTION, 1.0)
    traffic.failed(SECTION, "upstream_invalid", 1.0, 99)
    assert traffic.statistics() == Statistics(
        calls=1, errors=1, in_flight=1, circuit="closed", last_error="upstream_invalid", last_error_at=99
    )
