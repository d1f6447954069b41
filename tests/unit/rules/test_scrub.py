from __future__ import annotations

import base64
import copy
import json
import pickle
import time
from collections.abc import Callable
from itertools import permutations

import pytest

from sidecar.errors import Unavailable
from sidecar.model.secret import Secret
from sidecar.rules.scrub import PIECE, REDACTED, Scrubber, is_scrubbable

KEY = 'sk-Test/9f+86 d0"81\\88?4c'


@pytest.fixture
def scrubber() -> Scrubber:
    return Scrubber([Secret(KEY)])


@pytest.mark.parametrize(
    ("headers", "readable"),
    [
        ([], True),
        ([(b"content-type", b"application/json")], True),
        ([(b"content-type", b'text/plain; charset="UTF-8"')], True),
        ([(b"content-type", b"text/plain; charset=iso-8859-1")], True),
        ([(b"content-type", b"text/plain; Charset = utf-16")], False),
        ([(b"content-type", b"text/plain; charset=utf-7")], False),
        ([(b"content-type", b"text/plain; charset=ibm037")], False),
    ],
)
def test_an_answer_that_cannot_be_read_is_not_scrubbable(headers: list[tuple[bytes, bytes]], readable: bool) -> None:
    assert is_scrubbable(headers) is readable
    assert Scrubber([Secret("plain-ascii")]).can_read(headers) is readable


def test_the_mask_takes_the_place_of_the_secret_and_tells_nothing_of_its_length(scrubber: Scrubber) -> None:
    body = b'{"sent": "Bearer ' + KEY.encode() + b'", "again": "' + KEY.encode() + b'"}'
    assert scrubber.scrub_body(body) == (b'{"sent": "Bearer [REDACTED]", "again": "[REDACTED]"}', 2)


def test_a_secret_among_escapes_is_masked_with_its_whole_escapes() -> None:
    body = b'{"a": "x\\u0022\\u0053ecret\\"y"}'
    assert Scrubber([Secret('"Secret"')]).scrub_body(body) == (b'{"a": "x[REDACTED]y"}', 1)


ESCAPES: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{ord(one):02x}" for one in text),
    "backslash": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "reference": lambda text: "".join(f"&#{ord(one)};" for one in text),
}


@pytest.mark.parametrize("kinds", list(permutations(ESCAPES)), ids=" in ".join)
def test_a_secret_in_three_escapes_is_found(scrubber: Scrubber, kinds: tuple[str, ...]) -> None:
    echo = KEY
    for kind in kinds:
        echo = ESCAPES[kind](echo)
    assert scrubber.scrub_body(f"<{echo}>".encode()) == (b"<[REDACTED]>", 1)


def test_an_echo_beside_a_lone_escape_is_still_found() -> None:
    assert Scrubber([Secret("AB-secret")]).scrub_body(b"\\AB-secret") == (b"\\[REDACTED]", 1)
    assert Scrubber([Secret("AB-secret")]).scrub_body(b"%AB-secret") == (b"%[REDACTED]", 1)


def test_overlapping_echoes_become_one_mask_and_adjacent_ones_two() -> None:
    assert Scrubber([Secret("abXab")]).scrub_body(b"<abXabXab>") == (b"<[REDACTED]>", 1)
    assert Scrubber([Secret("abXab")]).scrub_body(b"abXababXab") == (REDACTED * 2, 2)


def test_the_basic_pair_is_masked_as_far_as_the_secret_determines_it(scrubber: Scrubber) -> None:
    for user in ("u", "me", "you", "them"):
        pair = base64.b64encode(f"{user}:{KEY}".encode())
        left = scrubber.scrub_body(b"Basic " + pair)[0]
        assert left.startswith(b"Basic ")
        assert REDACTED in left
        assert len(left.replace(REDACTED, b"").rstrip(b"=")) - 6 <= -(-8 * (len(user) + 1) // 6) + 1


def test_an_injected_pair_given_as_a_secret_goes_whole() -> None:
    pair = base64.b64encode(f"user:{KEY}".encode()).decode()
    body = f'{{"authorization": "Basic {pair}"}}'.encode()
    assert Scrubber([Secret(KEY), Secret(pair)]).scrub_body(body) == (b'{"authorization": "Basic [REDACTED]"}', 1)


@pytest.mark.parametrize(
    "echo",
    [
        "schlüssel-ñ".encode(),
        "schlüssel-ñ".encode().decode("latin-1").encode(),
        b"schl\\u00fcssel-\\u00f1",
        b"schl\\u00c3\\u00bcssel-\\u00c3\\u00b1",
        b"schl%C3%BCssel-%c3%b1",
        base64.b64encode("x schlüssel-ñ y".encode()),
    ],
)
def test_a_secret_that_is_not_ascii_is_found_however_it_was_read(echo: bytes) -> None:
    assert Scrubber([Secret("schlüssel-ñ")]).scrub_body(b"<" + echo + b">")[1] == 1


@pytest.mark.parametrize("encode", [bytes.hex, lambda part: base64.b64encode(part).decode()])
def test_a_line_of_a_key_is_found_packed_even_where_the_key_was_cut(encode: Callable[[bytes], str]) -> None:
    lines = [b"A1" * 32, b"B2" * 32, b"C3" * 32]
    key = b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----\n"])
    cut = encode(key[: key.index(b"C3") + 20])
    scrubbed = Scrubber([Secret(key)]).scrub_body(cut.encode())[0]
    assert scrubbed.count(REDACTED) == 2
    assert not any(encode(line)[8:-8].encode() in scrubbed for line in lines[:2])


def test_a_document_of_thousands_of_words_is_searched_in_bounded_steps() -> None:
    """The largest secret there may be; each call builds its own scrubber."""
    words = [f"{at:05d}-{at * 7919:026d}" for at in range(1800)]
    begun = time.thread_time()
    scrubber = Scrubber([Secret(json.dumps(words))])
    stream = scrubber.stream()
    shown = stream.feed(f"<{words[0]}> <{words[-1]}> ".encode() + b"{}" * (PIECE // 4))
    assert time.thread_time() - begun < 0.1
    assert shown.startswith(b"<[REDACTED]> <[REDACTED]> ")


def test_headers_are_scrubbed_in_value_and_name(scrubber: Scrubber) -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-echo", b"Bearer " + KEY.encode()),
        (b"x-echo", base64.b64encode(KEY.encode())),
        (b"location", b"/?k=sk-Test%2F9f%2b86+d0%2281%5C88%3F4c"),
    ]
    scrubbed, count = scrubber.scrub_headers(headers)
    assert count == 3
    assert scrubbed[:2] == [(b"content-type", b"text/plain"), (b"x-echo", b"Bearer [REDACTED]")]
    assert scrubbed[3] == (b"location", b"/?k=[REDACTED]")
    assert Scrubber([Secret("KeyInAName")]).scrub_headers([(b"x-keyinaname-1", b"1"), (b"a", b"b")]) == (
        [(b"redacted", b"1"), (b"a", b"b")],
        1,
    )


def test_headers_without_a_secret_are_the_very_same_list(scrubber: Scrubber) -> None:
    headers = [(b"server", b"x"), (b"date", b"y")]
    assert scrubber.scrub_headers(headers)[0] is headers


def test_halves_in_two_headers_are_not_taken_for_one_secret() -> None:
    half, other = base64.b64encode(b"a-secret-in-two")[:12], base64.b64encode(b"a-secret-in-two")[12:]
    headers = [(b"", half), (b"", other)]
    assert Scrubber([Secret(b"a-secret-in-two")]).scrub_headers(headers) == (headers, 0)


def test_a_stream_holds_back_only_what_could_become_the_secret() -> None:
    stream = Scrubber([Secret("secret-1234")]).stream()
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"data: secre") == b"data: "
    assert stream.feed(b"tary\n\n") == b"secretary\n\n"
    assert stream.feed(b"secret-12") == b""
    assert stream.feed(b"34!") == b"[REDACTED]!"
    assert stream.feed(b"sec%7") == b""
    assert stream.feed(b"2et-1\\u003234") == b"[REDACTED]"
    assert stream.feed(b"50%") == b"50"
    assert stream.finish(b"") == b"%"
    assert stream.count == 2


def test_holding_back_never_cuts_an_escape_in_two() -> None:
    """The tail could begin the one secret from inside an escape on; the other begins with the escape after it."""
    scrubber = Scrubber([Secret("\\\\u0041-and-so-on"), Secret("ABCD-secret")])
    body = b"\\\\" + b"\\u0041BCD-secret"
    whole = scrubber.scrub_body(body)
    assert whole == (b"\\\\[REDACTED]", 1)
    for at in range(len(body) + 1):
        stream = scrubber.stream()
        assert stream.feed(body[:at]) + stream.feed(body[at:]) + stream.finish() == whole[0]


def test_a_tail_that_never_ends_is_withheld() -> None:
    secret = "long-secret-" * 500
    stream = Scrubber([Secret(secret)]).stream()
    with pytest.raises(Unavailable) as refusal:
        for letter in base64.b64encode(secret.encode()).decode():
            stream.feed(letter.encode() + b" " * 127)
    assert refusal.value.code == "answer_withheld"


def test_a_long_beginning_that_comes_byte_by_byte_is_not_read_anew_for_each(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    scan = Scrubber.scan

    def counted(self: Scrubber, text: bytes, *, final: bool) -> tuple[list[tuple[int, int]], int]:
        read.append(len(text))
        return scan(self, text, final=final)

    monkeypatch.setattr(Scrubber, "scan", counted)
    echo = base64.b64encode(KEY.encode())
    body = b"".join(bytes([letter]) + b"\\u0020" * 60 for letter in echo[:-3])
    stream = scrubber.stream()
    assert b"".join(stream.feed(body[at : at + 1]) for at in range(len(body))) == b""
    assert len(body) > 10_000
    assert sum(size > 5_000 for size in read) < 20
    assert (stream.feed(echo[-3:]) + stream.finish()).startswith(REDACTED)
    assert stream.count == 1


@pytest.mark.parametrize("start", [b"data: ", b'{"delta": "', b""])
def test_inv_5_by_line_nothing_that_is_held_back_tells_how_the_secret_begins(
    scrubber: Scrubber, start: bytes
) -> None:
    """Who chooses the text, and where it pauses, guesses the secret a character at a time otherwise."""
    for size in range(1, len(KEY)):
        for guess in (KEY[:size], KEY[: size - 1] + "~", base64.b64encode(KEY[:size].encode()).decode(), "~" * size):
            stream = scrubber.stream(by_line=True)
            assert stream.feed(b"first\n" + start + guess.encode()) == b"first\n"
            assert stream.feed(b"~\n") == start + guess.encode() + b"~\n"


def test_by_line_whole_lines_go_out_at_once_and_clean(scrubber: Scrubber) -> None:
    stream = scrubber.stream(by_line=True)
    assert stream.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    half = len(KEY) // 2
    assert stream.feed(KEY[:half].encode()) == b""
    assert stream.feed(KEY[half:].encode() + b"!\r\ndata") == b"data: [REDACTED]!\r\n"
    assert stream.feed(b": 2\r") == b"data: 2\r"
    assert stream.feed(b"\n" + KEY.encode()) == b"\n"
    assert stream.finish() == REDACTED
    assert stream.count == 2


@pytest.mark.parametrize("cut", [1, 7, PIECE // 2, PIECE, 3 * PIECE])
def test_by_line_a_long_line_is_not_held_for_ever(scrubber: Scrubber, cut: int) -> None:
    line = b"x" * (2 * PIECE) + KEY.encode() + b"y" * (2 * PIECE) + b"\n"
    body = line * 3 + b"z" * PIECE
    stream = scrubber.stream(by_line=True)
    out, longest = [], 0
    for at in range(0, len(body), cut):
        out.append(stream.feed(body[at : at + cut]))
        longest = max(longest, len(stream._held))
    assert b"".join([*out, stream.finish()]) == body.replace(KEY.encode(), REDACTED)
    assert stream.count == 3
    assert longest <= PIECE


def test_by_line_without_secrets_everything_passes_at_once() -> None:
    assert Scrubber([]).stream(by_line=True).feed(b"half a li") == b"half a li"


@pytest.mark.parametrize("padding", [b"\0" * 4096, b" " * 4096, b"\r\n" * 2048])
def test_padding_after_the_beginning_of_an_echo_is_not_held_back(padding: bytes) -> None:
    stream = Scrubber([Secret("secret-1234")]).stream()
    start = base64.b64encode(b"secret-1234")[:6]
    assert stream.feed(start) == b""
    assert stream.feed(padding) == start + padding


def test_a_long_body_is_scrubbed_in_steps() -> None:
    scrubber = Scrubber([Secret("secret-1234")])
    body = b"x" * (3 * PIECE - 5) + b"secret-1234" + b"y" * PIECE
    assert b"".join(scrubber.pieces(body)) == scrubber.scrub_body(body)[0]
    assert b"".join(scrubber.pieces(b"")) == b""


def test_a_secret_echoed_for_ever_does_not_fill_the_memory() -> None:
    stream = Scrubber([Secret("abababab")]).stream()
    out = b"".join(stream.feed(b"ab" * 500) for _ in range(50)) + stream.finish()
    assert (out, stream.count) == (REDACTED, 1)


def test_a_secret_too_short_to_be_found_is_refused() -> None:
    with pytest.raises(Unavailable) as refusal:
        Scrubber([Secret("abc")])
    assert refusal.value.code == "credential_unavailable"
    assert "abc" not in str(refusal.value)
    assert Scrubber([Secret("abcd")]).scrub_body(b"xabcdx") == (b"x[REDACTED]x", 1)


def test_without_secrets_nothing_is_touched() -> None:
    body = b"%41\\u0041&amp;\0"
    assert Scrubber([]).scrub_body(body) == (body, 0)


def test_inv_5_a_scrubber_shows_nothing_and_cannot_be_copied_out(scrubber: Scrubber) -> None:
    assert "sk-" not in repr(scrubber)
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copying(scrubber)


def test_inv_5_an_echoed_secret_does_not_reach_the_agent(scrubber: Scrubber) -> None:
    echo = b'{"authorization": "Bearer ' + KEY.encode() + b'"}'
    stream = scrubber.stream()
    shown = [scrubber.scrub_body(echo)[0], stream.feed(echo) + stream.finish()]
    shown += [value for _, value in scrubber.scrub_headers([(b"x-echo", echo)])[0]]
    assert all(REDACTED in text and KEY.encode() not in text for text in shown)
