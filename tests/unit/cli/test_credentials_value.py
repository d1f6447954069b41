from __future__ import annotations

import io
from collections.abc import Callable

import click
import pytest

from sidecar.cli.credentials_value import refuse, value
from sidecar.errors import Misconfigured
from sidecar.rules.credential_terms import VALUE_LIMIT


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(plain: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(plain)))

    return give


@pytest.mark.parametrize(
    ("plain", "kind", "taken"),
    [
        (b"value-1234\n", None, b"value-1234"),
        (b"value-1234\r\n", "API_KEY", b"value-1234"),
        (b"value-1234\n\n", "API_KEY", b"value-1234\n"),  # and refused where it is stored
        (b"-----BEGIN\n", "SSH_KEY", b"-----BEGIN\n"),
    ],
)
def test_one_line_break_at_the_end_is_dropped_but_of_a_key(
    given: Callable[[bytes], None], plain: bytes, kind: str | None, taken: bytes
) -> None:
    given(plain)
    assert value(kind).reveal() == taken


def test_no_more_than_can_be_stored_is_read(given: Callable[[bytes], None]) -> None:
    given(b"x" * (VALUE_LIMIT + 100))
    assert VALUE_LIMIT < len(value(None)) <= VALUE_LIMIT + 2


def test_nothing_is_no_value(given: Callable[[bytes], None]) -> None:
    given(b"\n")
    with pytest.raises(Misconfigured):
        value(None)


def test_inv_5_what_may_be_a_value_is_refused_and_not_repeated() -> None:
    refuse(())
    with pytest.raises(click.UsageError) as refused:
        refuse(("canary-1234",))
    assert "canary" not in str(refused.value)


def test_what_a_terminal_wrote_in_another_charset_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.cli.credentials_value._is_typed", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: b"caf\xe9-12345678".decode("utf-8", "surrogateescape"))
    assert value(None).reveal() == b"caf\xe9-12345678"
