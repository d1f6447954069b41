"""Ports stay small: an ability more is a Protocol more."""

from __future__ import annotations

import inspect
import typing
from typing import Protocol

import pytest

from sidecar import ports

PORTS = [
    kind
    for _, kind in inspect.getmembers(ports, inspect.isclass)
    if kind.__module__ == ports.__name__ and Protocol in kind.__bases__
]


def _members(port: type) -> dict[str, object]:
    return {name: member for name, member in vars(port).items() if not name.startswith("_")}


def test_the_ports_of_the_design_are_there() -> None:
    named = {port.__name__ for port in PORTS}
    assert {"PolicyEngine", "CredentialSource", "Caller", "Resolver", "EvidenceLog", "Counter"} <= named
    assert {"Observer", "Clock"} <= named


@pytest.mark.parametrize("port", PORTS)
def test_a_port_has_one_to_four_methods(port: type) -> None:
    assert 1 <= len(_members(port)) <= 4


@pytest.mark.parametrize("port", PORTS)
def test_a_port_says_what_it_is_for_and_every_method_too(port: type) -> None:
    assert port.__doc__
    for name, member in _members(port).items():
        assert inspect.getdoc(member), name


@pytest.mark.parametrize("port", PORTS)
def test_a_port_is_typed_to_the_end(port: type) -> None:
    for name, member in _members(port).items():
        function = member.fget if isinstance(member, property) else member
        assert callable(function)
        hints = typing.get_type_hints(function)
        assert "return" in hints, name
        assert set(inspect.signature(function).parameters) - {"self"} <= set(hints), name


def test_execution_takes_the_proof_of_an_allow() -> None:
    """INV-3: no adapter can send anything without a ``Permit`` in its hand."""
    first = list(inspect.signature(ports.Caller.call).parameters.values())[1]
    assert first.name == "permit"
    assert typing.get_type_hints(ports.Caller.call)["permit"].__name__ == "Permit"
