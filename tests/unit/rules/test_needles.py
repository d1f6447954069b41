from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.needles import beginning, cores, passwords, places, taken_from, texts, words


def test_a_text_that_is_not_ascii_has_a_second_form() -> None:
    assert texts(b"plain") == [b"plain"]
    assert texts("ü".encode()) == ["ü".encode(), "Ã¼".encode()]
    assert texts(b"\xff\xfe\xfd") == [b"\xff\xfe\xfd", b"\xc3\xbf\xc3\xbe\xc3\xbd"]
    assert texts("zügig".encode()) == ["zügig".encode(), "zÃ¼gig".encode(), b"z\xfcgig"]
    assert texts("€-süß".encode())[2:] == [b"\x80-s\xfc\xdf", b"\xac -s\xfc\xdf", b" \xac-s\xfc\xdf"]


def test_quotation_marks_may_be_doubled() -> None:
    assert texts(b"it's") == [b"it's", b"it''s"]
    assert texts(b'a"b"c') == [b'a"b"c', b'a""b""c']


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


@pytest.mark.parametrize(
    ("url", "alone"),
    [
        (b"postgres://user:pa%40ss-word@db.example:5432/x", [b"pa%40ss-word", b"pa@ss-word"]),
        (b"redis://:pass-word@cache.example", [b"pass-word"]),
        (b"https://example/a:b@c", []),
        (b"https://u:abc@example", []),  # no longer than what any text may hold
        (b"user:pass-word@example", []),
        (b"host=db user=reporter password='pass-word'", [b"pass-word"]),
        (b"AccountName=store;AccountKey=c2VjcmV0LWtleQ==;Suffix=example", [b"c2VjcmV0LWtleQ=="]),
        (b"a-token-with-a-key=", []),
    ],
)
def test_the_password_of_a_url_or_a_connection_string_is_known_by_itself(url: bytes, alone: list[bytes]) -> None:
    assert passwords(url) == alone


@pytest.mark.parametrize(
    ("field", "value", "taken"),
    [
        (b"authorization", b"Token abc-12345678", [b"abc-12345678"]),
        (b"authorization", b"Basic " + base64.b64encode(b"user:pass"), [b"dXNlcjpwYXNz", b"user:pass", b"pass"]),
        (b"authorization", b"Basic !not/base64", [b"!not/base64"]),
        (b"authorization", b'Token token="abc-12345678", n=1', [b'token="abc-12345678", n=1', b"abc-12345678"]),
        (b"x-api-key", b"abc-12345678", []),
        (b"x-api-key", b"/abc 12345678", []),
        (b"x-api-key", b"Key ", []),
        (b"cookie", b'session=abc-12345678; theme=dark; csrf="def-87654321"', [b"abc-12345678", b"def-87654321"]),
    ],
)
def test_what_an_upstream_takes_out_of_a_header_is_known_by_itself(
    field: bytes, value: bytes, taken: list[bytes]
) -> None:
    assert taken_from(field, value) == taken


LINE, OTHER = b"A" * 64, b"B" * 40


@pytest.mark.parametrize(
    "document",
    [
        b"-----BEGIN PRIVATE KEY-----\n" + LINE + b"\n" + OTHER + b"\nshort==\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\\n" + LINE + b"\\n" + OTHER + b"\\nshort==\\n-----END PRIVATE KEY-----",
        b'{"type": "account", "private_key": "-----BEGIN\\n' + LINE + b'\\n", "id": "' + OTHER + b'"}',
    ],
)
def test_the_long_words_of_a_document_are_known_by_themselves(document: bytes) -> None:
    assert words(document) == [LINE, OTHER]


def test_what_is_one_word_has_no_others() -> None:
    assert words(LINE) == []
    assert words(LINE + b" " + LINE) == []


def test_the_places_of_a_needle_cover_what_all_of_them_do() -> None:
    assert list(places(b"aXaXa", b"aXa")) == [0, 2]
    assert list(places(b"", b"a")) == []
    assert list(places(b"aaaaaaa", b"aaa")) == [0, 2, 4]
    assert list(places(b"abab.ab", b"ab")) == [0, 2, 5]


@given(text=st.text(alphabet="ab", max_size=40).map(str.encode), needle=st.sampled_from([b"a", b"ab", b"aba", b"aa"]))
def test_places_that_are_left_out_lie_within_the_others(text: bytes, needle: bytes) -> None:
    size = len(needle)
    every = {at + more for at in range(len(text)) if text.startswith(needle, at) for more in range(size)}
    assert {at + more for at in places(text, needle) for more in range(size)} == every


@pytest.mark.parametrize(
    ("text", "at"),
    [(b"", None), (b"xyz", None), (b"xsec", 1), (b"sesec", 2), (b"secret", None), (b"ssssss", 5), (b"xsecre", 1)],
)
def test_the_beginning_of_a_needle_is_found_at_the_end_only(text: bytes, at: int | None) -> None:
    assert beginning(text, b"secret") == at
