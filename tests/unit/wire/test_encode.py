"""Replies as bytes."""

from __future__ import annotations

import json

import pytest

from sidecar.wire import encode

DATE = encode.date_line(0)


def test_a_whole_message() -> None:
    written = encode.message(200, ((b"content-type", b"text/plain"),), b"content-length: 2\r\n", DATE, b"hi")
    assert written == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"content-length: 2\r\n\r\nhi"
    )


def test_a_status_without_a_phrase() -> None:
    assert encode.message(599, (), b"", b"").startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 2000])
def test_a_status_that_is_no_final_one_is_refused(status: int) -> None:
    with pytest.raises(encode.BadReplyError):
        encode.message(status, (), b"", DATE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"a", b"b\r\nset-cookie: c"),
        (b"a", b"b\nc: d"),
        (b"a", b"b\rc"),
        (b"a", b"b\x00"),
        (b"a: b\r\nc", b"d"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a", b"b\r\n"),
        (b"a", b"\r\n\r\nHTTP/1.1 200 OK"),
    ],
)
def test_h21_a_header_that_would_split_the_reply_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(encode.BadReplyError):
        encode.field_lines(((b"fine", b"yes"), (name, value)))


def test_framing_is_not_the_handlers() -> None:
    theirs = (
        (b"content-length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"CONNECTION", b"keep-alive"),
        (b"date", b"x"),
        (b"upgrade", b"h2c"),
        (b"a", b"b"),
    )
    assert encode.field_lines(theirs) == b"a: b\r\n"


def test_a_bare_problem_is_a_problem_document() -> None:
    reply = encode.bare_problem("internal_error", "it failed")
    assert isinstance(reply.body, bytes)
    document = json.loads(reply.body)
    assert (reply.status, document["status"], document["code"]) == (500, 500, "internal_error")
    assert document["evidence_id"] is None


@pytest.mark.parametrize(("status", "bodiless"), [(200, False), (204, True), (304, True), (404, False)])
def test_which_statuses_have_no_body(status: int, bodiless: bool) -> None:
    assert encode.bodiless(status) is bodiless
