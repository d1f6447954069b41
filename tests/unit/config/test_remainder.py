"""What stays checkable when a part is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.document import JsonPath
from sidecar.config.remainder import remainder
from sidecar.config.sections import Config
from tests.unit.config.builders import GOOD, changed


@pytest.mark.parametrize(
    ("path", "value", "faulty", "gone"),
    [
        ("tenant", 5, ("tenant",), set()),
        ("tenant", ..., (), set()),
        ("zzz", 5, ("zzz",), set()),
        ("limits", [], ("limits",), set()),
        ("limits.in_flight", 0, ("limits", "in_flight"), set()),
        ("principals.reader.keys.0.sha256", "x", ("principals", "reader", "keys", 0, "sha256"), {"reader"}),
        ("connectors.crm.kind", "x", ("connectors", "crm", "kind"), set()),
        ("connectors.crm.base_url", "x", ("connectors", "crm", "base_url"), set()),
        ("connectors.crm.base_url", ..., ("connectors", "crm"), {"crm", "find", "create"}),
        ("connectors.crm", None, ("connectors", "crm"), {"crm"}),
        ("connectors.crm.rate", 5, ("connectors", "crm", "rate"), set()),
        ("connectors.crm.operations", 5, ("connectors", "crm", "operations"), set()),
        (
            "connectors.crm.operations.find.method",
            "x",
            ("connectors", "crm", "operations", "find", "method"),
            {"find"},
        ),
        ("connectors", [], ("connectors",), set()),
        ("planes", {"a": {}, "b": {}}, ("planes",), {"a", "b"}),
    ],
)
def test_the_rest_is_a_configuration(path: str, value: Any, faulty: JsonPath, gone: set[str]) -> None:
    document = changed(path, value)
    before = repr(document)
    rest, set_aside = remainder(document, [faulty])
    msgspec.convert(rest, Config)
    assert set_aside == gone
    assert repr(document) == before


def test_what_is_not_faulty_stays() -> None:
    rest, _ = remainder(changed("connectors.crm.rate", 5), [("connectors", "crm", "rate")])
    assert rest == GOOD


def test_no_mapping_leaves_nothing() -> None:
    assert remainder(["a"], [()]) == ({"tenant": "set-aside"}, frozenset())
