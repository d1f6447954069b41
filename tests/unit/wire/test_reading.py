"""Where heads and bodies end."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.wire.gate import read_head
from sidecar.wire.message import Intake
from sidecar.wire.reading import BodyReader, HeadReader
from sidecar.wire.second import SecondReader

HEAD = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"


class Silent:
    def body_wanted(self) -> None: ...

    def body_taken(self) -> None: ...


def body(raw: bytes, limit: int = 100) -> tuple[BodyReader, Intake]:
    head, second = read_head(raw, 100), SecondReader()
    second.begin(head, raw)
    intake = Intake(Silent(), head.body)
    return BodyReader(head, second, intake, limit), intake


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_head_ends_at_its_empty_line(size: int) -> None:
    reader = HeadReader(100)
    data = HEAD + b"rest"
    for start in range(0, len(data), size):
        found = reader.feed(data[start : start + size])
        assert reader.started is (found is None)
        if found is not None:
            read, end = found
            assert (read[:end], data) == (HEAD, read + data[start + size :])
            return
    pytest.fail("the head's end was not found")


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_a_head_over_the_limit(size: int) -> None:
    assert HeadReader(len(HEAD)).feed(HEAD) == (HEAD, len(HEAD))
    reader = HeadReader(len(HEAD) - 1)
    with pytest.raises(Refused) as caught:
        for start in range(0, len(HEAD), size):
            reader.feed(HEAD[start : start + size])
    assert caught.value.code == "headers_too_large"


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\nHost: door\n\n", "malformed"),
        (b"GET / HTTP/1.1\r\nA: b\rc", "malformed"),
        (b"a" * 99 + b"\r\nb", "headers_too_large"),
        (b"a" * 100 + b"\x00", "headers_too_large"),
        (b"a" * 99 + b"\x00a", "malformed"),
        (b"a" * 99 + b"\rb", "headers_too_large"),
    ],
)
def test_the_verdict_on_an_unfinished_head_does_not_hang_on_the_cuts(data: bytes, code: str, size: int) -> None:
    reader = HeadReader(100)
    with pytest.raises(Refused) as caught:
        for start in range(0, len(data), size):
            reader.feed(data[start : start + size])
    assert caught.value.code == code


async def test_a_counted_body_leaves_the_rest() -> None:
    reader, intake = body(b"POST / HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\n\r\n")
    assert reader.feed(b"he") == (b"", False)
    assert reader.skippable(3)
    assert not reader.skippable(2)
    assert reader.feed(b"lloNEXT") == (b"NEXT", True)
    intake.finish()
    assert await intake.read(5) == b"hello"


async def test_a_chunked_body_leaves_the_rest() -> None:
    reader, intake = body(b"POST / HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not reader.skippable(1 << 30)
    assert reader.feed(b"5\r\nhel") == (b"", False)
    assert reader.feed(b"lo\r\n0\r\n\r\nNEXT") == (b"NEXT", True)
    intake.finish()
    assert await intake.read(5) == b"hello"


def test_a_chunked_body_over_the_limit() -> None:
    reader, _ = body(b"POST / HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n", limit=4)
    with pytest.raises(Refused) as caught:
        reader.feed(b"5\r\nhello\r\n0\r\n\r\n")
    assert caught.value.code == "body_too_large"


def test_h07_many_tiny_chunks_are_read_in_turns() -> None:
    reader, _ = body(b"POST / HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n", limit=1 << 20)
    data, turns, done = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", 0, False
    while not done:
        data, done = reader.feed(data)
        turns += 1
    assert (data, turns) == (b"", 5)
