"""Whole answers, read in any cut, with the end where it is and nowhere else."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import reader as reader_module
from sidecar.wire.answer_gate import UNTIL_CLOSE, BadAnswer, Head
from sidecar.wire.reader import INTERIM_MAX, AnswerReader

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok",
]
ENDLESS = [b"HTTP/1.1 200 OK\r\n\r\nhello", b"HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\n"]
BAD = [
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    CHUNKED + b"5\r\nhelloX",
    CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
    b"HTTP/1.1 103 x\r\n\r\n" * (INTERIM_MAX + 1),
]


def drain(reader: AnswerReader) -> int:
    turns = 0
    while reader.backlog:
        reader.resume()
        turns += 1
    return turns


def reading(pieces: list[bytes], **request: Any) -> tuple[Any, ...]:
    """What comes of the pieces, however many there are."""
    reader = AnswerReader()
    reader.begin(**request)
    try:
        for piece in pieces:
            reader.feed(piece)
            drain(reader)
    except BadAnswer as bad:
        return ("bad", type(bad))
    return ("read", reader.head, b"".join(reader.body), reader.done, reader.surplus, reader.reusable)


def cut(message: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(message) + 1) for place in places}), len(message)]
    return [message[start:end] for start, end in pairwise(edges) if end > start]


@pytest.mark.parametrize("message", GOOD + ENDLESS + BAD)
def test_byte_by_byte_reads_the_same(message: bytes) -> None:
    assert reading([message[i : i + 1] for i in range(len(message))]) == reading([message])


@given(
    st.sampled_from(GOOD + ENDLESS + BAD), st.sampled_from([b"", b"x", b"\r\n", GOOD[0]]), st.lists(st.integers(0))
)
def test_no_cut_changes_the_reading(message: bytes, behind: bytes, places: list[int]) -> None:
    assert reading(cut(message + behind, places)) == reading([message + behind])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0)))
def test_a_chunked_body_is_read_whole(chunks: list[bytes], places: list[int]) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    kind, _, read, done, surplus, reusable = reading(cut(CHUNKED + body, places))
    assert (kind, read, done, surplus, reusable) == ("read", b"".join(chunks), True, False, True)


@given(st.binary(max_size=200), st.lists(st.integers(0), max_size=4))
def test_any_bytes_are_refused_or_read_the_same(noise: bytes, places: list[int]) -> None:
    message = b"HTTP/1.1 200 OK\r\n" + noise
    assert reading(cut(message, places)) == reading([message])


@pytest.mark.parametrize("message", GOOD)
def test_good_answers_end(message: bytes) -> None:
    kind, head, _, done, surplus, reusable = reading([message])
    assert (kind, done, surplus) == ("read", True, False)
    assert reusable is head.keep_alive


@pytest.mark.parametrize("message", BAD)
def test_bad_answers_are_refused(message: bytes) -> None:
    assert reading([message])[0] == "bad"


@pytest.mark.parametrize("message", GOOD)
@pytest.mark.parametrize("behind", [b"x", b"\r\n", GOOD[0]])
def test_bytes_behind_an_answer_forbid_another_request(message: bytes, behind: bytes) -> None:
    for pieces in ([message + behind], [message, behind]):
        kind, _, _, done, surplus, reusable = reading(pieces)
        assert (kind, done, surplus, reusable) == ("read", True, True, False)


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
def test_the_answer_to_head_ends_with_its_head(framing: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n"
    kind, _, body, done, surplus, reusable = reading([raw], to_head=True)
    assert (kind, body, done, surplus, reusable) == ("read", b"", True, False, framing != b"X: y" or reusable)
    assert reading([raw + b"hello"], to_head=True)[4:] == (True, False)


def test_an_answer_without_framing_ends_in_good_order_only() -> None:
    reader = AnswerReader()
    reader.feed(ENDLESS[0])
    before = reader.done
    reader.end()
    assert (before, reader.done) == (False, True)
    assert b"".join(reader.body) == b"hello"
    assert not reader.reusable


@pytest.mark.parametrize(
    "partial", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", CHUNKED + b"5\r\nhello\r\n"]
)
def test_a_short_answer_is_no_answer(partial: bytes) -> None:
    reader = AnswerReader()
    if partial:
        reader.feed(partial)
    with pytest.raises(BadAnswer, match="before the answer did"):
        reader.end()


def test_the_head_is_bounded() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert reading([raw], head_bytes=len(raw))[3] is True
    assert reading([raw], head_bytes=len(raw) - 1)[0] == "bad"
    assert reading([raw[:-1]], head_bytes=len(raw) - 2)[0] == "bad"


def test_interim_answers_are_skipped_up_to_a_number() -> None:
    interim = b"HTTP/1.1 103 x\r\n\r\n" * INTERIM_MAX
    kind, head, body, *_ = reading([interim + GOOD[0]])
    assert (kind, head.status, body) == ("read", 200, b"hello")


def test_trailers_are_never_merged() -> None:
    _, head, *_ = reading([GOOD[5]])
    assert b"x-trailer" not in dict(head.headers)


def test_h07_many_tiny_chunks_are_read_a_part_at_a_time() -> None:
    reader = AnswerReader()
    reader.feed(CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    before = reader.done
    turns = drain(reader)
    assert (before, reader.done) == (False, True)
    assert turns >= 2
    assert b"".join(reader.body) == b"x" * 20_000


def test_one_connection_reads_answer_after_answer() -> None:
    reader = AnswerReader()
    for message in [GOOD[0], GOOD[4], GOOD[2], GOOD[3], GOOD[0]]:
        reader.begin()
        reader.feed(message)
        assert reader.done
        assert reader.reusable


@pytest.mark.parametrize(
    ("raw", "believed"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 4),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 6),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", UNTIL_CLOSE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 20),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n5\r\nhello\r\n0\r\n\r\n", -2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", UNTIL_CLOSE),
    ],
)
def test_the_second_reader_has_a_veto(raw: bytes, believed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the first reader believes about the end, it must be what llhttp believes."""
    monkeypatch.setattr(reader_module, "read_head", lambda *_, **__: Head(200, [], believed, True))
    assert reading([raw])[0] == "bad"
    assert reading([raw[i : i + 1] for i in range(len(raw))])[0] == "bad"


def test_the_second_reader_decides_with_us_whether_the_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "read_head", lambda *_, **__: Head(200, [], 0, True))
    assert reading([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])[5] is False
