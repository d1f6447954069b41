"""Whatever our client accepts of an upstream, two parsers that share no code with it or with llhttp read alike.

The other readers are h11 and ``http.client``. Ours may refuse what they accept (``sidecar.wire.answer_gate`` says
what and why). It may never read another status, header or body than they do, never call an answer whole that they
still wait for, and never keep a connection that h11 would end: a reader who is out of step hands one call's answer
to another (response smuggling).
"""

from __future__ import annotations

import io
import re
from http.client import HTTPException, HTTPResponse
from itertools import pairwise
from typing import Any, NamedTuple, cast

import h11
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from sidecar.wire.answer_gate import BadAnswer
from sidecar.wire.reader import AnswerReader
from tests.properties.test_wire_differential import BODIES, VALUES, chunked_bodies, spoiled


class Reading(NamedTuple):
    """One final answer as one reader sees it: lower-cased names in order, blanks around values gone."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Ours(NamedTuple):
    """What our reader made of the bytes: an answer, and whether the connection would be used again."""

    answer: Reading | None
    reusable: bool


# What ``http.client`` reads otherwise than the RFC: interim answers but 100 are final to it (RFC 9110 section 15.2),
# and a coding with a blank behind it is none (RFC 9112 section 5.1).
_OTHER_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!00)", re.IGNORECASE)
_BLANK_AFTER_CODING = re.compile(rb"chunked[\t ]+\r\n", re.IGNORECASE)


def ours(pieces: list[bytes], method: str, *, ends: bool) -> Ours:
    """Our reading of ``pieces``; ``ends``: the upstream then closes in good order."""
    reader = AnswerReader()
    reader.begin(to_head=method == "HEAD")
    try:
        for piece in pieces:
            reader.feed(piece)
            while reader.backlog:
                reader.resume()
        if ends:
            reader.end()
    except BadAnswer:
        return Ours(None, reusable=False)
    finally:
        reader.release()
    if not reader.done or reader.head is None:
        return Ours(None, reusable=False)
    return Ours(Reading(reader.head.status, reader.head.headers, b"".join(reader.body)), reader.reusable)


def by_h11(data: bytes, method: str, *, ends: bool) -> tuple[Reading | None, bool]:
    """h11's reading, and whether it would send another request on the connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "far")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if ends:
        connection.receive_data(b"")
    try:
        head = connection.next_event()
        while isinstance(head, h11.InformationalResponse):
            head = connection.next_event()
        if not isinstance(head, h11.Response):
            return None, False
        body = b""
        while isinstance(piece := connection.next_event(), h11.Data):
            body += piece.data
    except h11.RemoteProtocolError:
        return None, False
    if not isinstance(piece, h11.EndOfMessage):
        return None, False
    # It never keeps a connection of HTTP/1.0; we do where the upstream asks for it (RFC 9112 section 9.3).
    goes_on = connection.their_state is h11.DONE or head.http_version == b"1.0"
    return Reading(head.status_code, list(head.headers), body), goes_on


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def by_http_client(data: bytes, method: str) -> Reading | None:
    """``http.client``'s reading of everything that came until the connection ended."""
    answer = HTTPResponse(cast("Any", _Socket(data)), method=method)
    try:
        answer.begin()
        body = answer.read()
    except (HTTPException, ValueError, OSError):
        return None
    finally:
        answer.close()
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    return Reading(answer.status, [(name, value.strip(b" \t")) for name, value in headers], body)


def _coding(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return (pair[0], pair[1].lower()) if pair[0] == b"transfer-encoding" else pair


def compare(data: bytes, method: str, *, ends: bool) -> Ours:
    """Hold our reading of ``data`` against the others'."""
    mine = ours([data], method, ends=ends)
    if mine.answer is None:
        return mine
    theirs, goes_on = by_h11(data, method, ends=ends)
    # h11 writes the one coding that there is in small letters.
    assert mine.answer._replace(headers=[_coding(pair) for pair in mine.answer.headers]) == theirs
    assert goes_on or not mine.reusable
    if _OTHER_INTERIM.search(data) is None and _BLANK_AFTER_CODING.search(data) is None:
        assert by_http_client(data, method) == mine.answer
    return mine


METHODS = st.sampled_from(["GET"] * 5 + ["HEAD", "POST"])
STATUSES = st.sampled_from(
    [b"200 OK"] * 8
    + [b"200", b"200 ", b"404 Not \xe9 Found", b"204 No Content", b"304 Not Modified", b"206 x", b"599 y", b"500 1 2"]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"])
FIELDS = st.one_of(
    st.tuples(st.sampled_from([b"Accept", b"X-A", b"x-a", b"Set-Cookie", b"TE", b"X_Y"]), VALUES).map(b": ".join),
    st.sampled_from(
        [
            b"Connection: keep-alive", b"Connection: close", b"Connection: X-A, TE", b"connection:  Keep-Alive , x",
            b"Connection: Upgrade", b"Upgrade: h2c", b"Keep-Alive: timeout=5", b"X-Empty:", b"Trailer: X-Sum",
            b"Content-Type: application/json", b"Content-Encoding: gzip", b"Proxy-Connection: close",
        ]
    ),
)  # fmt: skip
INTERIM = st.sampled_from(
    [b""] * 6
    + [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 2,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ]
)
AFTER = st.sampled_from([b""] * 8 + [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\r\n", b"x"])


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(FIELDS, max_size=4))
    framing = draw(st.sampled_from(["none", "length", "length", "length", "chunked", "chunked", "both"]))
    body = b""
    if framing == "length":
        body = draw(BODIES)
        lines.append(b"Content-Length: %d" % (len(body) + draw(st.sampled_from([0] * 9 + [1, -1]))))
    elif framing == "none":
        body = draw(BODIES)
    else:
        body = draw(chunked_bodies())
        lines.append(
            draw(st.sampled_from([b"Transfer-Encoding: chunked"] * 5 + [b"transfer-encoding:  Chunked ", b"TE: x"]))
        )
        if framing == "both":
            lines.append(b"Content-Length: %d" % len(body))
    lines = draw(st.permutations(lines))
    first = b" ".join((draw(VERSIONS), draw(STATUSES)))
    return draw(INTERIM) + b"\r\n".join((first, *lines, b"", b"")) + body + draw(AFTER)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    return spoiled(draw, draw(answers()), 1)


OFTEN = settings(max_examples=max(300, settings().max_examples), deadline=None)


@OFTEN
@given(answers(), METHODS, st.booleans())
@example(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "GET", True)
@example(b"HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", "GET", False)
def test_h21_well_formed_answers_are_read_alike(data: bytes, method: str, ends: bool) -> None:
    event(f"accepted: {compare(data, method, ends=ends).answer is not None}")


@OFTEN
@given(mutated(), METHODS, st.booleans())
def test_h21_what_is_accepted_of_mutated_answers_is_read_alike(data: bytes, method: str, ends: bool) -> None:
    event(f"accepted: {compare(data, method, ends=ends).answer is not None}")


@OFTEN
@given(mutated(), METHODS, st.booleans(), st.lists(st.integers(1, 300), max_size=8))
def test_h21_how_an_answer_is_cut_changes_nothing(data: bytes, method: str, ends: bool, cuts: list[int]) -> None:
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    assert ours([data[start:stop] for start, stop in pairwise(edges)], method, ends=ends) == ours(
        [data], method, ends=ends
    )


def test_most_generated_answers_are_accepted() -> None:
    """The properties above would hold for a reader that refuses everything."""
    accepted: list[bool] = []

    @settings(max_examples=100, deadline=None, database=None)
    @given(answers(), METHODS)
    def count(data: bytes, method: str) -> None:
        accepted.append(compare(data, method, ends=True).answer is not None)

    count()
    assert sum(accepted) > len(accepted) / 4
