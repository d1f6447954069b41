"""The chunked transfer coding, whole and cut anywhere."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.wire.chunks import ChunkScanner

MESSAGE = (
    b'4\r\nWiki\r\n6;name="a;\\"b";flag;k=v\r\npedia \r\n00D\r\nin \r\n\r\nchunks\r\n0;last\r\nX-Sum: 1\r\nY:\r\n\r\n'
)
BODY = b"Wikipedia in \r\n\r\nchunks"


def read(data: bytes, size: int, scanner: ChunkScanner | None = None) -> tuple[bytes, bytes, bool]:
    """The body, what is left over and whether it ended, feeding ``size`` bytes at a time."""
    scanner = scanner or ChunkScanner()
    body = bytearray()
    for start in range(0, len(data), size):
        pieces, rest, done = scanner.feed(data[start : start + size])
        body += b"".join(pieces)
        if done:
            return bytes(body), rest + data[start + size :], True
        assert rest == b""
    return bytes(body), b"", False


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_however_it_is_cut_the_body_and_its_end_are_the_same(size: int) -> None:
    scanner = ChunkScanner()
    assert read(MESSAGE + b"NEXT", size, scanner) == (BODY, b"NEXT", True)
    assert scanner.trailers == [(b"x-sum", b"1"), (b"y", b"")]


def test_an_incomplete_message_is_not_done() -> None:
    for length in range(len(MESSAGE)):
        body, rest, done = read(MESSAGE[:length], 3)
        assert not done
        assert rest == b""
        assert BODY.startswith(body)


BAD = {
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-1\r\nabc\r\n0\r\n\r\n",
    "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "no size, extension": b";a\r\nabc\r\n0\r\n\r\n",
    "overflow 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "16 digits": b"0000000000000003\r\nabc\r\n0\r\n\r\n",
    "space after size": b"3 \r\nabc\r\n0\r\n\r\n",
    "space before size": b" 3\r\nabc\r\n0\r\n\r\n",
    "tab before extension": b"3\t;a\r\nabc\r\n0\r\n\r\n",
    "bare LF size line": b"3\nabc\r\n0\r\n\r\n",
    "bare LF in extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "bare CR in extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "bare LF in quoted": b'3;a="\n"\r\nabc\r\n0\r\n\r\n',
    "NUL in extension": b"3;a\x00\r\nabc\r\n0\r\n\r\n",
    "open quote": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "empty extension": b"3;\r\nabc\r\n0\r\n\r\n",
    "chunk too long": b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk too short": b"3\r\nab\r\n0\r\n\r\n",
    "missing CRLF": b"3\r\nabc0\r\n\r\n",
    "LF only after the chunk": b"3\r\nabc\n0\r\n\r\n",
    "CR only after the chunk": b"3\r\nabc\r0\r\n\r\n",
    "junk after CRLF": b"3\r\nabc\r\n\r\n0\r\n\r\n",
    "fullwidth digit": b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n",
    "trailer with space": b"0\r\nA : b\r\n\r\n",
    "trailer folded": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer bare LF": b"0\r\nA: b\n\r\n",
    "end with bare LF": b"0\r\n\n",
    "trailer content-length": b"0\r\nContent-Length: 4\r\n\r\n",
    "trailer transfer-encoding": b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    "trailer host": b"0\r\nHost: a\r\n\r\n",
    "trailer authorization": b"0\r\nAuthorization: Bearer x\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("name", BAD)
def test_a67_a_bad_chunk_is_refused_however_it_is_cut(name: str, size: int) -> None:
    with pytest.raises(Refused) as caught:
        read(BAD[name], size)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize("size", [1, 1000])
def test_the_largest_size_is_not_believed_but_counted(size: int) -> None:
    assert read(b"fffffffffffffff\r\nabc", size) == (b"abc", b"", False)


@pytest.mark.parametrize("size", [7, 100_000])
def test_a79_extensions_are_bounded_over_the_whole_message(size: int) -> None:
    with pytest.raises(Refused, match="extensions"):
        read(b"1;abcdefgh\r\nx\r\n" * 1000, size)
    with pytest.raises(Refused, match="size line"):
        read(b"1;" + b"a" * 3000 + b"\r\nx\r\n", size)
    with pytest.raises(Refused, match="size line"):
        read(b"1;" + b"a" * 3000, size)


@pytest.mark.parametrize("size", [11, 100_000])
@pytest.mark.parametrize(
    "flood", [b"a: b\r\n" * 5000, b"a: " + b"b" * 9000 + b"\r\n", b"a: " + b"b" * 9000, b"\x00" * 9000]
)
def test_h06_trailers_are_bounded(flood: bytes, size: int) -> None:
    with pytest.raises(Refused) as caught:
        read(b"0\r\n" + flood, size)
    assert caught.value.code == "headers_too_large"


def test_h07_a_feed_stops_at_its_bound_of_chunks_and_goes_on_with_the_rest() -> None:
    scanner = ChunkScanner()
    data = b"1\r\nx\r\n" * 10 + b"0\r\n\r\n"
    body, feeds, done = b"", 0, False
    while not done:
        pieces, rest, done = scanner.feed(data, chunks=3)
        assert len(pieces) <= 3
        assert data.endswith(rest)
        body, data, feeds = body + b"".join(pieces), rest, feeds + 1
    assert (body, data, feeds) == (b"x" * 10, b"", 4)
