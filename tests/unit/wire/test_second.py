"""The second reader's veto."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.wire.gate import read_head
from sidecar.wire.second import SecondReader

RAW = b"POST /a HTTP/1.1\r\nHost: door\r\nX-Empty:\r\nX-Blank: b \t\r\nContent-Length: 3\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_two_readers_that_agree() -> None:
    second = SecondReader()
    for _ in range(2):
        second.begin(read_head(RAW, 100), RAW)
        second.expect(False)
        second.feed(b"ab")
        second.expect(False)
        second.feed(b"c")
        second.expect(True)
        assert second.keep_alive is True


def test_trailers_are_no_headers() -> None:
    second = SecondReader()
    second.begin(read_head(CHUNKED, 100), CHUNKED + b"0\r\nX: y\r\n\r\n")
    second.expect(True)


def test_a_head_read_differently_is_refused() -> None:
    head = read_head(RAW, 100)
    others = [
        head._replace(method="PUT"),
        head._replace(raw_target=b"/b"),
        head._replace(raw_headers=head.raw_headers[:-1]),
        head._replace(raw_headers=[*head.raw_headers, (b"A", b"b")]),
        head._replace(raw_headers=[(b"Host", b"other"), *head.raw_headers[1:]]),
    ]
    for other in others:
        with pytest.raises(Refused, match="two readers"):
            SecondReader().begin(other, RAW)


def test_another_end_of_the_message_is_refused() -> None:
    second = SecondReader()
    second.begin(read_head(RAW, 100), RAW)
    with pytest.raises(Refused, match="two readers"):
        second.expect(True)
    second.feed(b"abc")
    with pytest.raises(Refused, match="two readers"):
        second.expect(False)


def test_what_llhttp_refuses_is_refused() -> None:
    second = SecondReader()
    second.begin(read_head(CHUNKED, 100), CHUNKED)
    with pytest.raises(Refused, match="two readers"):
        second.feed(b"0x3\r\n")


def test_an_upgrade_is_never_entered() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: door\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    second = SecondReader()
    second.begin(read_head(raw, 100), read_head(raw, 100).raw)
    second.expect(True)
    with pytest.raises(Refused, match="two readers"):
        SecondReader().begin(read_head(raw, 100), raw)


def test_its_view_of_the_connection_is_kept() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: door\r\nProxy-Connection: close\r\n\r\n"
    second = SecondReader()
    second.begin(read_head(raw, 100), raw)
    assert second.keep_alive is False
