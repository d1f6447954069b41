from __future__ import annotations

import pytest

from sidecar.rules.tracing import accepted

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_valid_traceparent_is_accepted() -> None:
    assert accepted(GOOD.encode()) == GOOD


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        GOOD.upper().encode(),
        GOOD.replace("00-4", "ff-4").encode(),
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        GOOD.encode() + b"-more",
        GOOD[:-1].encode() + b"\xe9",
    ],
)
def test_an_invalid_traceparent_is_ignored(header: bytes | None) -> None:
    assert accepted(header) is None
