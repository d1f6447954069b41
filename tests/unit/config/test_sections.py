"""The frozen classes: safe defaults, strict, bounded."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.config.sections import Config, ConnectorSection, DoorsSection, StoreSection
from tests.unit.config.builders import GOOD, changed


def test_defaults_are_the_safe_ones() -> None:
    assert DoorsSection().access == "127.0.0.1:8080"
    assert DoorsSection().metrics.startswith("127.0.0.1:")
    assert StoreSection().allow_environment is False
    connector = msgspec.convert({"kind": "http", "base_url": "https://a.example"}, ConnectorSection)
    assert connector.auth is None
    assert connector.timeouts.total_seconds <= 60


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("connectors.crm.timeouts", {"total_seconds": 1e9}),
        ("connectors.crm.operations.find.answer", {"max_bytes": 1 << 50}),
        ("connectors.crm.rate", {"requests": 0}),
        ("limits.in_flight", 0),
        ("limits.body_bytes", 1 << 30),
        ("evidence.reserve_bytes", 0),
    ],
)
def test_unlimited_cannot_be_written(path: str, value: object) -> None:
    for one in (value, None, -1):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(changed(path, one), Config)


def test_labels_are_not_shared_between_sections() -> None:
    one, other = (msgspec.convert(GOOD, Config) for _ in range(2))
    assert one.principals["reader"].labels is not other.principals["reader"].labels
