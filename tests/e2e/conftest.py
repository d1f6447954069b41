"""A house and its upstream: one of each for a test that changes them, one a module for tests that only call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.far import Far
from tests.e2e.house import House, living


@pytest.fixture
def far() -> Iterator[Far]:
    with Far() as far:
        yield far


@pytest.fixture
def house(tmp_path: Path, far: Far) -> Iterator[House]:
    """Not started yet; ended with the test."""
    house = House(tmp_path, far.port)
    yield house
    house.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Far]]:
    """Running; every test of the module calls it, none changes it."""
    with Far() as far, living(House(tmp_path_factory.mktemp("shared"), far.port)) as house:
        yield house, far
