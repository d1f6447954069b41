from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.needles import beginning, cores, places, texts


def test_a_text_that_is_not_ascii_has_a_second_form() -> None:
    assert texts(b"plain") == [b"plain"]
    assert texts("ü".encode()) == ["ü".encode(), "Ã¼".encode()]
    assert texts(b"\xff") == [b"\xff", b"\xc3\xbf"]


@given(before=st.binary(max_size=9), secret=st.binary(min_size=4, max_size=40), after=st.binary(max_size=9))
def test_one_core_is_in_the_base64_of_any_text_around_the_secret(before: bytes, secret: bytes, after: bytes) -> None:
    found = list(cores(secret))
    text = before + secret + after
    assert any(core in base64.b64encode(text) for core in found)
    assert any(core in base64.urlsafe_b64encode(text) for core in found)
    shortest = (8 * len(secret) - 10) // 6  # at most five bits at either end belong to shared characters
    assert all(len(core) >= shortest for core in found)


def test_cores_hold_what_the_secret_alone_determines() -> None:
    one, two, three = cores(b"secret")
    assert one == base64.b64encode(b"secret")
    for core, pad in ((two, 1), (three, 2)):
        around = [base64.b64encode(bytes([byte]) * pad + b"secret" + bytes([byte])) for byte in (0, 255)]
        assert all(core in text for text in around)
        left, right = (text[text.index(core) - 1 : text.index(core) + len(core) + 1] for text in around)
        assert left[:1] != right[:1]
        assert left[-1:] != right[-1:]


def test_every_place_is_found_overlapping_ones_too() -> None:
    assert list(places(b"aXaXa", b"aXa")) == [0, 2]
    assert list(places(b"", b"a")) == []


@pytest.mark.parametrize(
    ("text", "at"),
    [(b"", None), (b"xyz", None), (b"xsec", 1), (b"sesec", 2), (b"secret", None), (b"ssssss", 5), (b"xsecre", 1)],
)
def test_the_beginning_of_a_needle_is_found_at_the_end_only(text: bytes, at: int | None) -> None:
    assert beginning(text, b"secret") == at
