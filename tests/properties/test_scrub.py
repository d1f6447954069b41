"""Whatever an upstream does to a secret before it echoes it, and wherever the bytes are cut: it does not come out."""

from __future__ import annotations

import base64
import html
import itertools
import json
import random
import urllib.parse
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.model.secret import Secret
from sidecar.rules.scrub import REDACTED, Scrubber

Encoder = Callable[[bytes, random.Random], bytes]


def _each(form: Callable[[int, random.Random], str]) -> Encoder:
    return lambda plain, chance: "".join(form(byte, chance) for byte in plain).encode("latin-1")


def _some(form: Callable[[int, random.Random], str], must: bytes) -> Encoder:
    """Only some bytes take the form: those that must, and others by chance."""
    return _each(lambda byte, chance: form(byte, chance) if byte in must or chance.random() < 0.3 else chr(byte))


def _cased(text: str, chance: random.Random) -> str:
    return "".join(chance.choice((letter.lower(), letter.upper())) for letter in text)


def _percent(byte: int, chance: random.Random) -> str:
    return "%" + _cased(f"{byte:02x}", chance)


def _unicode(byte: int, chance: random.Random) -> str:
    return "\\u" + _cased(f"{byte:04x}", chance)


def _reference(byte: int, chance: random.Random) -> str:
    return chance.choice((f"&#{byte};", f"&#x{byte:x};", f"&#0{byte};"))


ENCODERS: dict[str, Encoder] = {
    "plain": lambda plain, _: plain,
    "url": lambda plain, _: urllib.parse.quote(plain, safe="").encode(),
    "url path": lambda plain, _: urllib.parse.quote(plain).encode(),
    "form": lambda plain, _: urllib.parse.quote_plus(plain).encode(),
    "percent": _each(_percent),
    "percent, some": _some(_percent, b"%"),
    "percent, twice": lambda plain, chance: urllib.parse.quote(_each(_percent)(plain, chance)).encode(),
    "json": lambda plain, _: json.dumps(plain.decode())[1:-1].encode(),
    "json, slashes": lambda plain, _: json.dumps(plain.decode())[1:-1].replace("/", "\\/").encode(),
    "json, every byte": _each(_unicode),
    "json, some": _some(_unicode, b'\\"\n\r\t\b\f'),
    "json, twice": lambda plain, _: json.dumps(json.dumps(plain.decode()))[1:-1].encode(),
    "url in json": lambda plain, chance: json.dumps(_some(_percent, b"%")(plain, chance).decode())[1:-1].encode(),
    "json in url": lambda plain, chance: urllib.parse.quote(_some(_unicode, b'\\"')(plain, chance)).encode(),
    "html": lambda plain, _: html.escape(plain.decode()).encode(),
    "html, every byte": _each(_reference),
    "hex": lambda plain, chance: _cased(plain.hex(), chance).encode(),
    "wide": lambda plain, _: plain.decode().encode("utf-16-le"),
}


def _is_long(text: str | bytes) -> bool:
    """White space around a secret does not count."""
    return len(text.strip()) >= 6


ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=24).filter(_is_long)
AROUND = st.binary(max_size=24)
AWKWARD = st.text(st.sampled_from("\\\"/%+ &;u0a41'<=\n"), min_size=8, max_size=12).filter(_is_long)


def in_pieces(scrubber: Scrubber, body: bytes, cuts: list[int]) -> bytes:
    stream = scrubber.stream()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return b"".join(stream.feed(body[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()


@given(
    secret=ASCII | AWKWARD,
    name=st.sampled_from(sorted(ENCODERS)),
    seed=st.integers(0, 1 << 32),
    before=AROUND,
    after=AROUND,
    cuts=st.lists(st.integers(0, 1 << 16), max_size=4),
)
def test_an_echo_in_any_encoding_cut_anywhere_does_not_come_out(
    secret: str, name: str, seed: int, before: bytes, after: bytes, cuts: list[int]
) -> None:
    # "\\" or a "%" right before would make the first byte of the echo part of an escape: another text altogether
    before = before.rstrip(b"\\%&u0123456789abcdefABCDEFx#;\0") + b"."
    echo = ENCODERS[name](secret.encode(), random.Random(seed))
    scrubber = Scrubber([Secret(secret)])
    body = before + echo + b"." + after
    whole, count = scrubber.scrub_body(body)
    assert count >= 1
    assert echo not in whole
    assert REDACTED in whole
    assert in_pieces(scrubber, body, cuts) == whole


@given(
    secret=ASCII,
    name=st.sampled_from(sorted(ENCODERS)),
    seed=st.integers(0, 1 << 32),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=6),
)
def test_an_echo_in_an_event_cut_anywhere_does_not_come_out(
    secret: str, name: str, seed: int, cuts: list[int]
) -> None:
    echo = ENCODERS[name](secret.encode(), random.Random(seed))
    body = b"data: 1\n\ndata: ." + echo + b".\n\ndata: 2\n\n"
    stream = Scrubber([Secret(secret)]).stream(by_line=True)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    passed = b"".join(stream.feed(body[a:b]) for a, b in itertools.pairwise(edges))
    assert echo not in passed
    assert REDACTED in passed
    assert passed.startswith(b"data: 1\n\ndata: ")
    assert passed.endswith(b"data: 2\n\n")
    assert stream.finish() == b""


@given(
    secret=st.text(min_size=3, max_size=20).map(str.encode).filter(_is_long),
    before=AROUND,
    after=AROUND,
    urlsafe=st.booleans(),
    width=st.sampled_from((0, 19, 76)),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=4),
)
def test_base64_at_any_alignment_loses_the_secret(
    secret: bytes, before: bytes, after: bytes, urlsafe: bool, width: int, cuts: list[int]
) -> None:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    text = encode(before + secret + after)
    body = b"\r\n".join(text[at : at + width] for at in range(0, len(text), width)) if width and text else text
    scrubber = Scrubber([Secret(secret)])
    whole, count = scrubber.scrub_body(body)
    assert count >= 1
    assert in_pieces(scrubber, body, cuts) == whole
    left = whole.replace(b"\r\n", b"")
    assert len(left.replace(REDACTED, b"")) <= len(text) - len(secret) * 8 // 6 + 2


@given(text=st.binary(max_size=200), cuts=st.lists(st.integers(0, 1 << 16), max_size=6))
@example(text=b"\\", cuts=[])
@example(text=b"\\\\u0041%4&#x", cuts=[1, 2, 3, 4])
def test_a_text_without_the_secret_is_left_byte_for_byte(text: bytes, cuts: list[int]) -> None:
    scrubber = Scrubber([Secret("a secret that no one guesses: 9f86d081884c")])
    assert scrubber.scrub_body(text) == (text, 0)
    assert in_pieces(scrubber, text, cuts) == text


ATOMS = (
    *(b"\\", b"u0041", b"u005c", b"%", b"41", b"25", b"&", b"#65;", b"amp;", b'"', b"n", b"A", b"B", b"/", b"\\/"),
    *(b"\0", b"\n", b" ", b"+", b"QUJ", b"BQUI", b"414", b"\\ud83d", b"\\ude00", b"ABA", b"x4"),
    *(b"\0\0", b"\0" * 4, b" " * 70, b"\r\n"),
)
ESCAPED = st.lists(st.sampled_from(ATOMS), max_size=24).map(b"".join)


@given(
    text=ESCAPED, secret=st.sampled_from([b"ABAB", b"A\\/B", b"AB%41", b'A"AA', b"\\u0041", b"A B+A"]), data=st.data()
)
def test_pieces_are_read_as_the_whole_is(text: bytes, secret: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    scrubber = Scrubber([Secret(secret)])
    assert in_pieces(scrubber, text, cuts) == scrubber.scrub_body(text)[0]
    assert in_pieces(scrubber, text, list(range(len(text)))) == scrubber.scrub_body(text)[0]
