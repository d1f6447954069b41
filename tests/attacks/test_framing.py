"""What an agent may try with the framing of its requests, case by case, over real sockets.

Every case must be refused with its status, never reach the handler, end the connection, and leave the request that
follows it unread. How the bytes are cut never changes the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import Refused
from sidecar.wire.gate import read_head
from tests.attacks.door import Door, conversation

NEXT = b"GET /smuggled HTTP/1.1\r\nHost: door\r\n\r\n"


def get(*lines: bytes, target: bytes = b"/v1/planes", host: bytes = b"Host: door\r\n") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = b"POST /v1/access HTTP/1.1\r\nHost: door\r\n"
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


CASES: dict[str, tuple[int, bytes]] = {
    # target and Host
    "A53 target and Host differ": (400, get(target=b"http://other/v1/planes")),
    "A53 target with a port the Host has not": (400, get(target=b"http://door:80/v1/planes")),
    "H12 absolute target of another scheme": (400, get(target=b"https://door/v1/planes")),
    "H12 absolute target without a path": (400, get(target=b"http://door")),
    "A72 no Host": (400, get(host=b"")),
    "A72 no Host with HTTP/1.0": (400, b"GET / HTTP/1.0\r\n\r\n"),
    "H14 two Hosts": (400, get(b"Host: door")),
    "H14 two Hosts that differ": (400, get(b"host: other")),
    "H13 empty Host": (400, get(host=b"Host:\r\n")),
    **{
        f"H13 Host {host!r}": (400, get(host=b"Host: " + host + b"\r\n"))
        for host in (
            b"a b", b"a,b", b"a@b", b"a/b", b"a?b", b"a#b", b"a\\b", b"a%41", b"a\tb", b"d\xc3\xb6or", b"a:", b"a:0",
            b"a:65536", b"a:123456", b"a:8o", b"a:-1", b"a:80:80", b"[::1", b"::1", b"[a]b", b"[fe80::1%25eth0]",
            b'"a"',
            b"http://a",
        )
    },
    # framing
    "A60 H01 Content-Length and Transfer-Encoding": (
        400, post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "A60 H01 Transfer-Encoding and Content-Length": (
        400, post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n")),
    "A61 H02 two Content-Lengths": (400, post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    "A61 H02 two Content-Lengths that differ": (400, post(b"Content-Length: 3", b"Content-Length: 0", body=b"abc")),
    **{
        f"A62 A63 Content-Length {value!r}": (400, post(b"Content-Length: " + value, body=b"abc"))
        for value in (
            b"3, 3", b"+3", b"-1", b"0x3", b"0_3", b"3 3", b"3;", b"3.0", b"", b"three", b"\xb2", b"3\x0b",
            b"1" * 16, b"1" * 25, b"18446744073709551619",
        )
    },
    "A64 space before the colon of Transfer-Encoding": (400, post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "A64 space before the colon of Content-Length": (400, post(b"Content-Length : 3", body=b"abc")),
    **{
        f"A65 H03 Transfer-Encoding {value!r}": (400, post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"))
        for value in (
            b"xchunked", b"chunkedx", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"gzip",
            b"identity",
            b",chunked", b"chunked,", b"chunked, x", b"chunked;q=1", b'"chunked"', b"", b"chunk\xc3\xa9d",
            b"\xa0chunked",
            b"chunked\x0b", b"chunked chunked", b"Chunked", b"CHUNKED",
        )
    },
    "A65 two Transfer-Encodings": (
        400, post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "A65 two Transfer-Encodings that differ": (
        400, post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "A66 HTTP/1.0 with Transfer-Encoding": (
        400, b"POST / HTTP/1.0\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two Content-Types": (400, post(b"Content-Type: a/b", b"content-type: a/b", b"Content-Length: 3", body=b"abc")),
    "two Authorizations": (400, get(b"Authorization: Bearer a", b"Authorization: Bearer b")),
    # chunks
    **{
        f"A67 H05 chunks {body!r}": (400, chunked(body))
        for body in (
            b"0x3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n", b"10000000000000003\r\nabc\r\n0\r\n\r\n",
            b"3;a\nb\r\nabc\r\n0\r\n\r\n",
            b"3;a\rb\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n", b"g\r\nabc\r\n0\r\n\r\n", b"3;\r\nabc\r\n0\r\n\r\n",
            b"0\r\nContent-Length: 3\r\n\r\n", b"0\r\nHost: other\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\nA: b\n\r\n",
        )
    },
    # line ends and characters
    "A68 H04 bare LF after the first line": (400, b"GET / HTTP/1.1\nHost: door\r\n\r\n"),
    "A68 H04 bare LF after a header": (400, b"GET / HTTP/1.1\r\nHost: door\nA: b\r\n\r\n"),
    "A68 H04 bare LF at the end": (400, b"GET / HTTP/1.1\r\nHost: door\r\n\n"),
    "A68 H04 nothing but bare LFs": (400, b"GET / HTTP/1.1\nHost: door\n\n"),
    "A69 H04 folded header": (400, get(b"A: b\r\n c")),
    "A69 H04 folded with a tab": (400, get(b"A: b\r\n\tc")),
    "A69 folded Transfer-Encoding": (400, post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n")),
    "A70 NUL in a value": (400, get(b"A: b\x00c")),
    "A70 NUL in a name": (400, get(b"A\x00: b")),
    "A70 NUL in the target": (400, get(target=b"/a\x00b")),
    "A70 bare CR in a value": (400, get(b"A: b\rc")),
    "A70 bare CR in a name": (400, get(b"A\r: b")),
    "A70 bare CR before the line end": (400, get(b"A: b\r")),
    "A70 DEL in a value": (400, get(b"A: b\x7fc")),
    "A71 space in a name": (400, get(b"A b: c")),
    "A71 no colon": (400, get(b"A")),
    "A71 no name": (400, get(b": b")),
    "A71 leading space in the first header": (400, get(host=b" Host: door\r\n")),
    "A71 name with non-ASCII": (400, get(b"\xc3\x84: b")),
    "A71 name with an underscore": (400, get(b"Content_Length: 5")),
    # protocols and versions
    "A73 websocket upgrade": (400, get(b"Connection: Upgrade", b"Upgrade: websocket")),
    "A73 H10 websocket upgrade with a body": (
        400, post(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", body=b"abc")),
    "A73 two upgrades": (400, get(b"Connection: Upgrade", b"Upgrade: h2c, websocket")),
    "A77 HTTP/9.9": (505, b"GET / HTTP/9.9\r\nHost: door\r\n\r\n"),
    "A77 HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: door\r\n\r\n"),
    "A77 HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: door\r\n\r\n"),
    "A77 the HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "A77 HTTP/0.9": (400, b"GET /\r\n\r\n"),
    "A77 RTSP/1.0": (400, b"GET / RTSP/1.0\r\nHost: door\r\n\r\n"),
    "A77 ICE/1.0": (400, b"GET / ICE/1.0\r\nHost: door\r\n\r\n"),
    "A77 http/1.1": (400, b"GET / http/1.1\r\nHost: door\r\n\r\n"),
    "A77 HTTP/1.10": (400, b"GET / HTTP/1.10\r\nHost: door\r\n\r\n"),
    "two spaces after the method": (400, b"GET  / HTTP/1.1\r\nHost: door\r\n\r\n"),
    "two spaces before the version": (400, b"GET /  HTTP/1.1\r\nHost: door\r\n\r\n"),
    "a tab for a space": (400, b"GET\t/ HTTP/1.1\r\nHost: door\r\n\r\n"),
    "a space before the method": (400, b" GET / HTTP/1.1\r\nHost: door\r\n\r\n"),
    "a space after the version": (400, b"GET / HTTP/1.1 \r\nHost: door\r\n\r\n"),
    "an empty line first": (400, b"\r\n" + get()),
    "two empty lines first": (400, b"\r\n\r\n" + get()),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    "an unknown expectation": (400, post(b"Expect: x", b"Content-Length: 3", body=b"abc")),
    "two expectations": (
        400, post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc")),
    # methods
    **{
        f"A88 {method.decode()}": (405, method + b" /v1/planes HTTP/1.1\r\nHost: door\r\n\r\n")
        for method in (b"TRACE", b"TRACK", b"PURGE", b"PRI", b"get", b"M-SEARCH", b"PROPFIND", b"QUERY", b"G")
    },
    "CONNECT": (405, b"CONNECT door:443 HTTP/1.1\r\nHost: door:443\r\n\r\n"),
    "CONNECT with a body": (405, b"CONNECT door:443 HTTP/1.1\r\nHost: door:443\r\nContent-Length: 3\r\n\r\nabc"),
    "a method with a colon": (400, b"GE:T / HTTP/1.1\r\nHost: door\r\n\r\n"),
    # targets
    **{
        f"A80 A82 H16 target {target!r}": (400, get(target=target))
        for target in (
            b"/pub/../admin", b"/..", b"/../", b"/.", b"/a/./b", b"/a/..", b"/a/%2e%2e/b", b"/a/%2E./b",
            b"/%252e%252e/b",
            b"/a\\b", b"/a%5cb", b"//a", b"/a//b", b"/a/b//", b"/a;p", b"/a%3bp", b"/a%00", b"/a%0d%0a", b"/a%7f",
            b"/a#f", b"/a?b#f", b"http://u@door/", b"http://u:p@door/", b"u@door", b"/a%", b"/a%4", b"/a%zz",
            b"/a?%zz",
            b"/a?b%00", b"/a?b%0a", b"/a\xc3\xa9", b"/a%c0%ae", b"/a%ff", b'/a"b', b"/a<b", b"/a{b}", b"/a|b",
            b"/a^b", b"/a`b",
            b"/a?b\\", b'/a?"', b"*", b"a", b"?a", b"door:443", b"", b"/..?a", b"/a/..?a",
        )
    },
    "A81 an encoded slash": (400, get(target=b"/a%2fb")),
    "A81 an encoded slash in upper case": (400, get(target=b"/a%2Fb")),
    # sizes
    "A79 64 KiB header": (431, get(b"A: " + b"b" * 65536)),
    "A79 64 KiB name": (431, get(b"a" * 65536 + b": b")),
    "A79 64 KiB target": (431, get(target=b"/" + b"a" * 65536)),
    "A79 a head that never ends": (431, b"GET / HTTP/1.1\r\nHost: door\r\n" + b"A: b\r\n" * 10_000),
    "A79 101 headers": (431, get(*(b"A: b",) * 100)),
    "A79 2 MiB announced": (413, post(b"Content-Length: 2097152")),
    "A79 2 MiB chunked": (413, chunked((b"40000\r\n" + b"x" * 0x40000 + b"\r\n") * 5)),
    "A79 a megabyte of chunk extensions": (400, chunked(b"1;" + b"a" * 1_000_000 + b"\r\nx\r\n0\r\n\r\n")),
    "A79 a chunk extension on each of many chunks": (400, chunked(b"1;aaaaaaaa\r\nx\r\n" * 10_000 + b"0\r\n\r\n")),
    "H06 a million trailers": (431, chunked(b"0\r\n" + b"a: b\r\n" * 1_000_000 + b"\r\n")),
    "H06 an endless trailer": (431, chunked(b"0\r\na: " + b"b" * 1_000_000)),
}  # fmt: skip


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with Door() as door:
        yield door


def heard_before_its_body_failed(raw: bytes) -> bool:
    """A chunked body is read by the handler, so a bad one is refused through it; one that is too large as well."""
    return raw.startswith((chunked(b""), post(b"Content-Length: 2097152")))


@pytest.mark.parametrize("name", CASES)
def test_a_bad_message_is_refused_and_ends_the_connection(door: Door, name: str) -> None:
    status, raw = CASES[name]
    door.heard.clear()
    answers = door.exchange(raw + NEXT)
    assert [answer.status for answer in answers] == [status]
    assert answers[0].header("connection") == "close"
    targets = [request.target for request in door.heard]
    assert targets == ([] if not heard_before_its_body_failed(raw) else ["/v1/access"])


def is_refused_by_its_head(name: str) -> bool:
    status, raw = CASES[name]
    return status not in (413, 431) and b"\r\n\r\n" in raw and not raw.startswith(chunked(b""))


@pytest.mark.parametrize("name", [name for name in CASES if is_refused_by_its_head(name)])
def test_the_first_reader_alone_refuses_a_bad_head(name: str) -> None:
    """Two readers are two only while neither leans on the other."""
    _, raw = CASES[name]
    with pytest.raises(Refused):
        read_head(raw[: raw.index(b"\r\n\r\n") + 4], 100)


@pytest.mark.parametrize("name", [name for name, (_, raw) in CASES.items() if len(raw) < 1000])
def test_cut_byte_by_byte_the_refusal_is_the_same(name: str) -> None:
    status, raw = CASES[name]
    data = raw + NEXT
    answers, heard = conversation(data[index : index + 1] for index in range(len(data)))
    assert [answer.status for answer in answers] == [status]
    assert heard == []


SMALL = sorted(name for name, (_, raw) in CASES.items() if len(raw) < 1000)


@given(st.sampled_from(SMALL), st.lists(st.integers(1, 400), max_size=6))
@settings(deadline=None, max_examples=150)
def test_cut_anywhere_the_refusal_is_the_same(name: str, cuts: list[int]) -> None:
    status, raw = CASES[name]
    data = raw + NEXT
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    answers, heard = conversation(data[start:stop] for start, stop in pairwise(edges))
    assert [answer.status for answer in answers] == [status]
    assert heard == []
