"""A refused call is repeated with another credential only where it has not been applied, or may be twice."""

from __future__ import annotations

import pytest

from sidecar.rules.renewal import may_repeat

CHALLENGE = [(b"www-authenticate", b"Bearer")]


@pytest.mark.parametrize(
    ("status", "headers", "idempotent", "may"),
    [
        (401, CHALLENGE, False, True),
        (401, CHALLENGE, True, True),
        (401, [], True, True),
        (401, [], False, False),
        (401, [(b"proxy-authenticate", b"Basic")], False, False),
        (403, CHALLENGE, True, False),
        (407, CHALLENGE, True, False),
        (200, CHALLENGE, True, False),
        (500, [], True, False),
    ],
)
def test_only_a_401_that_was_not_applied_or_may_be_twice(
    status: int, headers: list[tuple[bytes, bytes]], idempotent: bool, may: bool
) -> None:
    assert may_repeat(status, headers, idempotent=idempotent) is may
