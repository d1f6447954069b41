"""The house of the end-to-end tests, for tests of a process that breaks."""

from tests.e2e.conftest import far, house

__all__ = ["far", "house"]
