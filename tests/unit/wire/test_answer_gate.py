"""What the gate accepts, what it refuses, and how it says a body is framed."""

from __future__ import annotations

import pytest

from sidecar.wire.answer_gate import CHUNKED, UNTIL_CLOSE, BadAnswer, is_hopeless, read_head


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines, b"", b""])


@pytest.mark.parametrize(
    ("lines", "status", "length"),
    [
        ((b"Content-Length: 12",), b"HTTP/1.1 200 OK", 12),
        ((b"content-length:\t12 ",), b"HTTP/1.1 200 OK", 12),
        ((), b"HTTP/1.1 200 OK", UNTIL_CLOSE),
        ((b"Transfer-Encoding: chunked",), b"HTTP/1.1 200 OK", CHUNKED),
        ((b"Transfer-Encoding: Chunked ",), b"HTTP/1.1 200 OK", CHUNKED),
        ((), b"HTTP/1.1 204 No Content", 0),
        ((b"Content-Length: 0",), b"HTTP/1.1 204 No Content", 0),
        ((b"Content-Length: 99",), b"HTTP/1.1 304 Not Modified", 0),
        ((), b"HTTP/1.1 103 Early Hints", 0),
        ((b"Content-Length: 3",), b"HTTP/1.0 599 ", 3),
        ((b"Content-Length: 3",), b"HTTP/1.1 200", 3),
        ((b"Content-Length: 3",), b"HTTP/1.1 200 tout va \xe9t\xe9", 3),
    ],
)
def test_framing_of_acceptable_heads(lines: tuple[bytes, ...], status: bytes, length: int) -> None:
    assert read_head(head(*lines, status=status)).length == length


def test_an_answer_to_head_never_has_a_body() -> None:
    assert read_head(head(b"Content-Length: 5"), to_head=True).length == 0
    assert read_head(head(b"Transfer-Encoding: chunked"), to_head=True).length == 0
    assert read_head(head(), to_head=True).length == 0


def test_headers_keep_order_repetition_and_inner_spaces() -> None:
    raw = head(b"Set-Cookie: a=1", b"X-Empty:", b"SET-COOKIE:  b = \xff2\t ", b"Content-Length: 0")
    assert read_head(raw).headers == [
        (b"set-cookie", b"a=1"),
        (b"x-empty", b""),
        (b"set-cookie", b"b = \xff2"),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize(
    "status",
    [
        b"HTTP/1.1 000 x", b"HTTP/1.1 099 x", b"HTTP/1.1 600 x", b"HTTP/1.1 999 x", b"HTTP/1.1 20 x",
        b"HTTP/1.1 2000 x", b"HTTP/1.1 +20 x", b"HTTP/1.1 20\xb2 x", b"HTTP/1.1  200 x", b"HTTP/1.1\t200 x",
        b"HTTP/1.1 200\tx",
        b"HTTP/2.0 200 x", b"HTTP/1.2 200 x", b"HTTP/0.9 200 x", b"http/1.1 200 x", b"HTTP/1.1200 x", b"ICY 200 OK",
        b"RTSP/1.0 200 OK", b" HTTP/1.1 200 x", b"\r\nHTTP/1.1 200 x", b"HTTP/1.1 200 a\x00b", b"HTTP/1.1 200 a\rb",
        b"HTTP/1.1 200 a\nb", b"HTTP/1.1 200 a\x7fb", b"", b"HTTP/1.1",
    ],
)  # fmt: skip
def test_odd_status_lines_are_refused(status: bytes) -> None:
    with pytest.raises(BadAnswer, match=r"status line|header field"):
        read_head(head(b"Content-Length: 0", status=status))


@pytest.mark.parametrize(
    "line",
    [
        b"X : y", b" X: y", b"\tfolded", b"X", b": y", b"X y: z", b"X\x00: y", b"X: a\x00b", b"X: a\rb", b"X: a\nb",
        b"X: a\x7fb", b"X\xe9: y", b"X(: y", b'X": y', b"X:\x0bb", b"Content-Length: 0\r\n folded",
    ],
)  # fmt: skip
def test_odd_field_lines_are_refused(line: bytes) -> None:
    with pytest.raises(BadAnswer, match="header field"):
        read_head(head(line, b"Content-Length: 0"))


@pytest.mark.parametrize(
    "value",
    [b"", b"+3", b"-1", b"0x3", b"0_3", b"3 3", b"3, 3", b"3,", b"3.0", b"\xb2", b"1" * 19, b"three"],
)
def test_a63_odd_lengths_are_refused(value: bytes) -> None:
    with pytest.raises(BadAnswer, match="Content-Length"):
        read_head(head(b"Content-Length: " + value))


def test_a76_two_lengths_are_refused_even_if_equal() -> None:
    with pytest.raises(BadAnswer, match="Content-Length"):
        read_head(head(b"Content-Length: 3", b"content-length: 3"))


@pytest.mark.parametrize(
    "value",
    [b"", b"xchunked", b"identity", b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b",chunked",
     b"chunked,", b"chunked;a=b", b'"chunked"', b"chunked\x0b", b"chunked gzip"],
)  # fmt: skip
def test_only_chunked_itself_is_a_coding(value: bytes) -> None:
    with pytest.raises(BadAnswer, match=r"Transfer-Encoding|header field"):
        read_head(head(b"Transfer-Encoding: " + value))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Transfer-Encoding: chunked", b"Content-Length: 3"), b"HTTP/1.1 200 OK"),
        ((b"Content-Length: 3", b"Transfer-Encoding: identity"), b"HTTP/1.1 200 OK"),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), b"HTTP/1.1 200 OK"),
        ((b"Transfer-Encoding: chunked",), b"HTTP/1.0 200 OK"),
        ((b"Transfer-Encoding: chunked",), b"HTTP/1.1 204 No Content"),
        ((b"Transfer-Encoding: chunked",), b"HTTP/1.1 304 Not Modified"),
        ((b"Transfer-Encoding: chunked",), b"HTTP/1.1 103 Early Hints"),
        ((b"Content-Length: 3",), b"HTTP/1.1 204 No Content"),
        ((b"Content-Length: 3",), b"HTTP/1.1 103 Early Hints"),
    ],
)
def test_a76_framing_that_contradicts_itself_is_refused(lines: tuple[bytes, ...], status: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_head(head(*lines, status=status))


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        (b"HTTP/1.1", (), True),
        (b"HTTP/1.1", (b"Connection: close",), False),
        (b"HTTP/1.1", (b"Connection: x, CLOSE ,y",), False),
        (b"HTTP/1.1", (b"Connection: keep-alive", b"connection: close"), False),
        (b"HTTP/1.1", (b"Connection: enclosed",), True),
        (b"HTTP/1.0", (), False),
        (b"HTTP/1.0", (b"Connection: Keep-Alive",), True),
        (b"HTTP/1.0", (b"Connection: keep-alive, close",), False),
    ],
)
def test_when_the_connection_goes_on(version: bytes, lines: tuple[bytes, ...], expected: bool) -> None:
    raw = head(b"Content-Length: 0", *lines, status=version + b" 200 OK")
    assert read_head(raw).keep_alive is expected


def test_a_body_that_ends_with_the_connection_ends_the_connection() -> None:
    assert not read_head(head()).keep_alive


def test_the_number_of_headers_is_capped() -> None:
    lines = [b"X: y"] * 4
    assert len(read_head(head(*lines), headers_max=4).headers) == 4
    with pytest.raises(BadAnswer, match="too many"):
        read_head(head(*lines, b"X: y"), headers_max=4)


@pytest.mark.parametrize(
    ("partial", "hopeless"),
    [
        (b"H", False), (b"HTTP/1.", False), (b"HTTP/1.1 200 OK\r\nX: y\r", False), (b"HTTP/1.1 200 OK\r\n", False),
        (b"X", True), (b"HTTP/2", True), (b"\r\n", True), (b"HTTP/1.1 200 OK\n", True), (b"HTTP/1.1 2\rx", True),
        (b"HTTP/1.1 200 a\x00", True),
    ],
)  # fmt: skip
def test_what_cannot_become_a_head_is_known_early(partial: bytes, hopeless: bool) -> None:
    assert is_hopeless(partial, 0) is hopeless
