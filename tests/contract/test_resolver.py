"""What every resolver promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from sidecar.adapters.resolution import SystemResolver
from sidecar.errors import Unavailable
from sidecar.ports import Resolver
from tests.fakes.clock import HeldClock
from tests.fakes.resolver import TableResolver

Make = Callable[[Mapping[str, tuple[str, ...]]], Resolver]


def on_the_system(names: Mapping[str, tuple[str, ...]]) -> Resolver:
    def lookup(name: str) -> tuple[str, ...]:
        if name not in names:
            raise OSError("no such name")
        return names[name]

    return SystemResolver(HeldClock(), lookup=lookup)


def on_fixed_addresses(names: Mapping[str, tuple[str, ...]]) -> Resolver:
    def lookup(name: str) -> tuple[str, ...]:
        raise OSError(name)

    return SystemResolver(HeldClock(), names, lookup=lookup)


@pytest.fixture(params=[on_the_system, on_fixed_addresses, TableResolver])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


async def test_every_address_in_the_order_given(make: Make) -> None:
    found = ("93.184.215.14", "2606:4700::1111", "10.0.0.1")
    resolver = make({"a.example": found})
    assert await resolver.resolve("a.example") == found
    assert await resolver.resolve("a.example") == found


@pytest.mark.parametrize("literal", ["93.184.215.14", "::1", "169.254.169.254"])
async def test_a_literal_is_its_own_answer(make: Make, literal: str) -> None:
    assert await make({}).resolve(literal) == (literal,)


async def test_a29_a_failed_lookup_is_unavailable(make: Make) -> None:
    with pytest.raises(Unavailable) as failed:
        await make({"a.example": ("93.184.215.14",)}).resolve("b.example")
    assert failed.value.code == "destination_forbidden"
    assert "b.example" in failed.value.detail
