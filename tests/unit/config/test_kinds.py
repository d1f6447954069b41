"""What each kind of connector can do."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from sidecar.config.fields import Capability, SourceType
from sidecar.config.kinds import CAPABILITIES, KINDS, NOT_BUILT, SOURCE_TYPES, capabilities, needed
from sidecar.config.sections import ConnectorSection


def test_every_kind_of_the_configuration_has_its_row() -> None:
    kinds = get_args(get_args(get_type_hints(ConnectorSection, include_extras=True)["kind"])[0])
    assert kinds == tuple(KINDS)
    assert not set(kinds) & set(NOT_BUILT)


def test_names_are_the_configurations_own() -> None:
    assert get_args(Capability) == CAPABILITIES
    assert get_args(SourceType) == SOURCE_TYPES
    for kind in KINDS.values():
        assert kind.capabilities <= set(CAPABILITIES)
        assert kind.serves <= set(SOURCE_TYPES)


def test_a_connector_can_do_what_it_declares_or_what_its_kind_can() -> None:
    assert capabilities("http", ("read",)) == {"read"}
    assert capabilities("http", ()) == frozenset()
    assert capabilities("http", None) == {"read", "write", "query", "stream", "search"}


@pytest.mark.parametrize(
    ("effect", "stream", "action", "expected"),
    [
        ("read", False, None, {"read"}),
        ("write", False, "execute", {"write"}),
        ("read", True, "list", {"read", "stream"}),
        ("read", False, "retrieve", {"read"}),
        ("read", False, "query", {"read", "query"}),
        ("read", False, "search", {"read", "search"}),
    ],
)
def test_what_a_call_needs(effect: str, stream: bool, action: str | None, expected: set[str]) -> None:
    assert needed(effect, stream, action) == expected
