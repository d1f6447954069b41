"""What the gate accepts, and what it makes of it. What it refuses is in tests/attacks/test_framing.py."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.wire.gate import CHUNKED, hopeless, read_head

POST = b"POST /v1/access?a=b;c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 5 \r\nX-A:  b \r\nx-a: c\r\n\r\n"


def head(*lines: bytes, first: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: door") -> bytes:
    return b"\r\n".join((first, host, *lines, b"", b""))


def test_a_head_is_read_once_and_for_all() -> None:
    read = read_head(POST, 100)
    assert (read.method, read.target, read.body) == ("POST", "/v1/access?a=b;c", 5)
    assert read.headers == [(b"host", b"127.0.0.1:8080"), (b"content-length", b"5"), (b"x-a", b"b"), (b"x-a", b"c")]
    assert (read.keep_alive, read.http_1_0, read.expects_continue) == (True, False, False)
    assert read.raw == POST
    assert read.raw_target == b"/v1/access?a=b;c"
    assert read.raw_headers[1:3] == [(b"Content-Length", b"5 "), (b"X-A", b"b ")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_each_method_we_take_is_taken(method: str) -> None:
    assert read_head(head(first=method.encode() + b" / HTTP/1.1"), 100).method == method


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((), 0),
        ((b"Content-Length: 0",), 0),
        ((b"Content-Length: 007",), 7),
        ((b"Transfer-Encoding: chunked",), CHUNKED),
    ],
)
def test_framing(lines: tuple[bytes, ...], body: int) -> None:
    assert read_head(head(*lines), 100).body == body


@pytest.mark.parametrize(
    ("first", "lines", "keep_alive"),
    [
        (b"GET / HTTP/1.1", (), True),
        (b"GET / HTTP/1.1", (b"Connection: close",), False),
        (b"GET / HTTP/1.1", (b"Connection: Keep-Alive",), True),
        (b"GET / HTTP/1.1", (b"Connection: keep-alive, CLOSE",), False),
        (b"GET / HTTP/1.1", (b"Connection: keep-alive", b"Connection: close"), False),
        (b"GET / HTTP/1.1", (b"Connection: closed",), True),
        (b"GET / HTTP/1.0", (), False),
        (b"GET / HTTP/1.0", (b"Connection: keep-alive",), False),
    ],
)
def test_keep_alive(first: bytes, lines: tuple[bytes, ...], keep_alive: bool) -> None:
    assert read_head(head(*lines, first=first), 100).keep_alive is keep_alive


@pytest.mark.parametrize(
    "target",
    [b"/", b"/a/", b"/a/b.c", b"/...", b"/.a/..b", b"/~a!$&'()*+,=:@-_", b"/a%20b%41", b"/?", b"/a?/?;:@%2e%80"],
)
def test_targets_that_are_plain_are_kept_as_they_are(target: bytes) -> None:
    assert read_head(head(first=b"GET " + target + b" HTTP/1.1"), 100).target == target.decode()


def test_an_absolute_target_whose_authority_is_the_host_is_reduced_to_its_path() -> None:
    read = read_head(head(first=b"GET http://DOOR/a?b HTTP/1.1"), 100)
    assert (read.target, read.raw_target) == ("/a?b", b"http://DOOR/a?b")


@pytest.mark.parametrize("host", [b"door", b"a.b-c_d.example", b"127.0.0.1:1", b"[::1]", b"[::ffff:127.0.0.1]:65535"])
def test_hosts(host: bytes) -> None:
    assert read_head(head(host=b"Host: " + host), 100).headers[0] == (b"host", host)


def test_a73_an_ignored_upgrade_leaves_no_trace_and_ends_the_connection() -> None:
    read = read_head(
        head(b"Connection: Upgrade, HTTP2-Settings", b"UPGRADE: h2c", b"HTTP2-Settings: AA", b"X: y"), 100
    )
    assert read.keep_alive is False
    assert [name for name, _ in read.headers] == [b"host", b"connection", b"x"]
    assert [name for name, _ in read.raw_headers] == [b"Host", b"Connection", b"X"]
    assert b"h2c" not in read.raw
    assert b"AA" not in read.raw


def test_expect_is_ignored_with_http_1_0() -> None:
    assert read_head(head(b"Expect: 100-Continue"), 100).expects_continue is True
    assert read_head(head(b"Expect: 100-continue", first=b"POST / HTTP/1.0"), 100).expects_continue is False


def test_too_many_headers() -> None:
    assert len(read_head(head(*(b"A: b",) * 9), 10).headers) == 10
    with pytest.raises(Refused) as caught:
        read_head(head(*(b"A: b",) * 10), 10)
    assert caught.value.code == "headers_too_large"


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    for line in (b"Author ization: Bearer secret", b"Host: secret", b"Content-Length: secret"):
        with pytest.raises(Refused) as caught:
            read_head(head(line), 100)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("part", [b"\n", b"GET / HTTP/1.1\nH", b"a\rb", b"\x00", b"a\x1b", b"\x7f"])
def test_what_no_head_may_hold_is_seen_early(part: bytes) -> None:
    assert hopeless(part, 0, len(part))


@pytest.mark.parametrize("part", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r", b"a: \xff\t\r\n"])
def test_what_may_still_become_a_head_is_waited_for(part: bytes) -> None:
    assert not hopeless(part, 0, len(part))


def test_hopeless_looks_only_where_it_is_told_but_sees_the_cr_before() -> None:
    assert not hopeless(b"a\r\nb\nc", 0, 4)
    assert not hopeless(b"a\r\nb", 2, 4)
    assert hopeless(b"a\r\nb\nc", 3, 6)
