"""Whatever our server accepts, two parsers that share no code with it or with llhttp read as the same message.

The other readers are h11 and gunicorn's pure-Python parser. Ours may refuse what they accept (``sidecar.wire.gate``
says what and why); it may never accept what one of them refuses, nor read another method, target, header or body
from it, nor see another number of messages. Three differences are ours on purpose and are undone before comparing:
an absolute-form target is reduced to its path, an ignored h2c upgrade is dropped from the headers, and nothing is
read after a message that ends its connection.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import h11
import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tests.attacks.door import Heard, conversation
from tests.attacks.test_framing import CASES

PEER = ("127.0.0.1", 1)
OURS_TO_DROP = ("upgrade", "http2-settings")


class Reading(NamedTuple):
    """One message as one reader sees it: lower-cased names in order, latin-1 text throughout."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


def reading(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Reading:
    if target.startswith("http://"):
        target = "/" + "".join(target.split("/", 3)[3:])
    return Reading(method, target, [(n.lower(), v) for n, v in headers if n.lower() not in OURS_TO_DROP], body)


def ours(heard: Heard) -> Reading:
    headers = [(name, value) for name, value in heard["headers"]]
    return reading(heard["method"], heard["target"], headers, heard["body"].encode("latin-1"))


def by_h11(data: bytes) -> list[Reading]:
    """What h11 reads, up to where it objects."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    found: list[Reading] = []
    try:
        while True:
            request = connection.next_event()
            if not isinstance(request, h11.Request):
                return found
            body = b""
            while isinstance(piece := connection.next_event(), h11.Data):
                body += piece.data
            if not isinstance(piece, h11.EndOfMessage):
                return found
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
            found.append(reading(request.method.decode(), request.target.decode(), headers, body))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return found


def by_gunicorn(data: bytes) -> list[Reading]:
    """What gunicorn reads, up to where it objects."""
    config = Config()
    config.set("http_parser", "python")
    config.set("limit_request_line", 0)
    found: list[Reading] = []
    try:
        for message in RequestParser(config, iter([data]), PEER):
            found.append(reading(message.method, message.uri, message.headers, message.body.read()))
    except Exception:  # its errors have no common family
        return found
    return found


def compare(data: bytes) -> int:
    """Hold our reading of ``data`` against the others'. Returns how many messages were accepted."""
    _, heard = conversation([data])
    accepted = [ours(message) for message in heard]
    assert by_h11(data)[: len(accepted)] == accepted
    assert by_gunicorn(data)[: len(accepted)] == accepted
    return len(accepted)


METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"])
TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"/v1/access", b"/v1/planes?limit=3", b"/a%20b/c", b"/a?b=c;d&e=%C3%A9", b"http://door/a?b"]
    ),
    st.lists(
        st.sampled_from([b"a", b"/", b".", b"..", b"%2e", b"%41", b"?", b";", b"~", b":", b"@", b"=", b"&"])
    ).map(lambda parts: b"/" + b"".join(parts)),
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/1.2"])
HOSTS = st.sampled_from(
    [b"Host: door"] * 8 + [b"host:door", b"Host: 127.0.0.1:8080 ", b"HOST: [::1]:80", b"Host: door,door"]
)
VALUES = st.binary(max_size=12).map(
    lambda value: bytes(byte for byte in value if byte in b"\t" or 32 <= byte < 127 or byte > 127)
)
FIELDS = st.one_of(
    st.tuples(st.sampled_from([b"Accept", b"X-A", b"x-a", b"Cookie", b"Authorization",
    b"TE"]), VALUES).map(b": ".join),
    st.sampled_from(
        [
            b"Connection: keep-alive", b"Connection: close", b"Connection: X-A, TE", b"Connection: Upgrade",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Expect: 100-continue", b"Keep-Alive: 5", b"X-Empty:",
            b"Trailer: X-Sum",
            b"Content-Type: application/json", b"Proxy-Connection: close",
        ]
    ),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"{}", b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\nHost: door\r\n\r\n", b"\r\n\r\n"]),
)
SUFFIXES = st.sampled_from([b""] * 6 + [b";a", b";a=b", b';a="b;\\"c"', b";a=b;c", b" ", b";"])
TRAILERS = st.sampled_from([b""] * 4 + [b"X-Sum: 1\r\n", b"A:\r\nB: c\r\n", b"Content-Length: 3\r\n", b"A : b\r\n"])


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    body = draw(BODIES)
    edges = [0, *sorted(draw(st.sets(st.integers(1, 40), max_size=4))), 1000]
    form = draw(st.sampled_from([b"%x", b"%X", b"0%x"]))
    chunks = [body[start:stop] for start, stop in pairwise(edges) if body[start:stop]]
    coded = b"".join((form % len(chunk)) + draw(SUFFIXES) + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    return coded + b"0" + draw(SUFFIXES) + b"\r\n" + draw(TRAILERS) + b"\r\n"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    lines = [draw(HOSTS), *draw(st.lists(FIELDS, max_size=4))]
    framing = draw(st.sampled_from(["none", "length", "length", "chunked", "chunked", "both"]))
    body = b""
    if framing == "length":
        body = draw(BODIES)
        lines.append(b"Content-Length: %d" % (len(body) + draw(st.sampled_from([0] * 9 + [1, -1]))))
    elif framing != "none":
        body = draw(chunked_bodies())
        lines.append(
            draw(st.sampled_from([b"Transfer-Encoding: chunked"] * 5 + [b"transfer-encoding:  chunked ", b"TE: x"]))
        )
        if framing == "both":
            lines.append(b"Content-Length: %d" % len(body))
    lines = draw(st.permutations(lines))
    first = b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS)))
    return b"\r\n".join((first, *lines, b"", b"")) + body


NASTY = st.sampled_from(
    [
        b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\x80", b"\xff", b"_",
        b"-", b"+", b"0",
        b"1", b"a", b"%", b"#", b"\\", b"\r\n ", b"chunked", b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\nHost: door", b"0\r\n\r\n", b"\r\n\r\n",
    ]
)  # fmt: skip


def spoiled(draw: st.DrawFn, data: bytes, least: int) -> bytes:
    """``data`` after ``least`` to three changes: a few bytes cut out, others put in."""
    for _ in range(draw(st.integers(least, 3))):
        position = draw(st.integers(0, max(0, len(data) - 1)))
        removed = draw(st.integers(0, 2))
        data = data[:position] + draw(st.one_of(st.just(b""), NASTY)) + data[position + removed :]
    return data


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    return spoiled(draw, b"".join(draw(st.lists(messages(), min_size=1, max_size=3))), 0)


OFTEN = settings(max_examples=max(300, settings().max_examples), deadline=None)


@OFTEN
@given(st.lists(messages(), min_size=1, max_size=3).map(b"".join))
@example(b"GET http://door/a HTTP/1.1\r\nHost: door\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
@example(
    b"PUT / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n"
)
def test_well_formed_messages_are_read_alike(data: bytes) -> None:
    event(f"{compare(data)} accepted")


@OFTEN
@given(mutated())
def test_what_is_accepted_of_mutated_messages_is_read_alike(data: bytes) -> None:
    event(f"{compare(data)} accepted")


@OFTEN
@given(mutated(), st.lists(st.integers(1, 300), max_size=8))
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    answers, heard = conversation(data[start:stop] for start, stop in pairwise(edges))
    whole, heard_whole = conversation([data])
    # Which of the two readers objects first may differ, and with it the sentence; what the peer is told may not.
    assert [(answer.status, answer.document.get("code")) for answer in answers] == [
        (answer.status, answer.document.get("code")) for answer in whole
    ]
    assert heard == heard_whole


@pytest.mark.parametrize("name", CASES)
def test_no_attack_is_read_at_all(name: str) -> None:
    assert compare(CASES[name][1]) == 0


def test_most_generated_messages_are_accepted() -> None:
    """The property above would hold for a server that refuses everything."""
    counts: list[int] = []

    @settings(max_examples=100, deadline=None, database=None)
    @given(messages())
    def count(data: bytes) -> None:
        counts.append(compare(data))

    count()
    assert sum(counts) > len(counts) / 4
