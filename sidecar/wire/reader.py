"""Reads the answers of one upstream connection, without touching a socket.

Two readers see the same bytes: our own (``answer_gate`` for the head, ``chunks`` for the coding) decides, llhttp must
agree on where the head ends, where the message ends and whether the connection goes on. Any disagreement is an
unacceptable answer: that is how desynchronised connections and poisoned answers come about.

What llhttp cannot know is kept from it: it is fed only bytes that belong to the message, a new parser for each, and
the head alone where a response has no body (HEAD, 204, 304).
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sidecar.errors import Refused
from sidecar.wire.answer_gate import CHUNKED, UNTIL_CLOSE, BadAnswer, Head, is_hopeless, read_head
from sidecar.wire.chunks import ChunkScanner

INTERIM_MAX: Final = 8  # 1xx responses before the final one
_CHUNKS_A_TURN: Final = 8192  # about 8 ms of work

_NONE: Final = b""


class AnswerReader:
    """State of one connection. After ``begin`` call ``feed`` until ``done``; look at ``head`` and take ``body``.

    ``backlog`` means that ``resume`` must be called, after other work had its turn. ``surplus`` means that bytes
    came after the message: the connection must not be used again. Every method but ``begin`` raises ``BadAnswer``.
    """

    __slots__ = (
        "_backlog", "_chunks", "_head_bytes", "_interim", "_left", "_partial", "_second", "_second_alive",
        "_second_done", "_second_head", "_to_head", "body", "done", "head", "surplus",
    )  # fmt: skip

    def __init__(self) -> None:
        self.begin()

    def begin(self, *, to_head: bool = False, head_bytes: int = 32768) -> None:
        """Expect the answer to a new request; ``to_head`` if it is a HEAD. ``head_bytes`` bounds one head."""
        self.head: Head | None = None
        self.body: list[bytes] = []
        self.done = False
        self.surplus = False
        self._to_head = to_head
        self._head_bytes = head_bytes
        self._partial: bytearray | None = None
        self._interim = 0
        self._left = 0
        self._chunks: ChunkScanner | None = None
        self._backlog = _NONE
        self._second: HttpResponseParser | None = None

    @property
    def backlog(self) -> bool:
        """Whether bytes that were fed still wait to be read."""
        return bool(self._backlog)

    @property
    def started(self) -> bool:
        """Whether any byte of an answer has come."""
        return self.head is not None or self._partial is not None or self._interim > 0

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request: a clean end, and both readers say it goes on."""
        return (
            self.done and not self.surplus and self.head is not None and self.head.keep_alive and self._second_alive
        )

    def feed(self, data: bytes) -> None:
        """Read what arrived."""
        if self.done:
            self.surplus = True
        elif self._backlog:
            self._backlog += data
        elif self.head is None:
            self._read_heads(data)
        else:
            self._read_body(data, _NONE)

    def resume(self) -> None:
        """Go on with the backlog."""
        data, self._backlog = self._backlog, _NONE
        self._read_body(data, _NONE)

    def end(self) -> None:
        """The upstream has ended its side in good order. An answer framed by the end is now whole."""
        if self.done:
            return
        if self._backlog or self.head is None or self.head.length != UNTIL_CLOSE:
            raise BadAnswer("the connection ended before the answer did")
        self.done = True

    def release(self) -> None:
        """Let go of llhttp: it and this object refer to each other."""
        self._second = None

    def on_headers_complete(self) -> None:
        """llhttp has read a head."""
        self._second_head = True
        self._second_alive = self._second is not None and self._second.should_keep_alive()

    def on_message_complete(self) -> None:
        """llhttp has read a message."""
        self._second_done = True

    def _read_heads(self, data: bytes) -> None:
        while data:
            raw, data = self._cut_head(data)
            if raw is None:
                return
            head = read_head(raw, to_head=self._to_head)
            self._second = HttpResponseParser(self)
            self._second_head = self._second_done = self._second_alive = False
            if head.status >= 200:
                self._start_body(head, raw, data)
                return
            self._skip_interim(head.status, raw)

    def _cut_head(self, data: bytes) -> tuple[bytes | None, bytes]:
        """Split off one whole head; None while it is incomplete."""
        seen = 0
        if self._partial is not None:
            seen = len(self._partial)
            self._partial += data
            data = bytes(self._partial) if b"\n" in data else _NONE
        end = data.find(b"\r\n\r\n", max(0, seen - 3)) + 4
        if 4 <= end <= self._head_bytes:
            self._partial = None
            return data[:end], data[end:]
        if self._partial is None:
            self._partial = bytearray(data)
        if len(self._partial) > self._head_bytes:
            raise BadAnswer("the head is too large")
        if is_hopeless(self._partial, max(0, seen - 1)):
            raise BadAnswer("the head is not HTTP/1.1")
        return None, _NONE

    def _skip_interim(self, status: int, raw: bytes) -> None:
        """RFC 9110 section 15.2: interim responses may be skipped. We never ask to switch protocols (A75)."""
        if status == 101:
            raise BadAnswer("the upstream switched protocols without being asked")
        self._interim += 1
        if self._interim > INTERIM_MAX:
            raise BadAnswer("there are too many interim responses")
        self._consult(raw)
        if not self._second_done:
            raise BadAnswer("two readings of an interim response differ")

    def _start_body(self, head: Head, raw: bytes, rest: bytes) -> None:
        self.head = head
        if head.length == 0:
            self._consult(raw)
            self._finish(rest)
            return
        if head.length == CHUNKED:
            self._chunks = ChunkScanner()
        else:
            self._left = head.length
        self._read_body(rest, raw)

    def _read_body(self, data: bytes, raw: bytes) -> None:
        """Take the body bytes of ``data``; ``raw`` is the head, where llhttp has not seen it yet."""
        if self._chunks is not None:
            self._read_chunks(data, raw)
            return
        if self._left == UNTIL_CLOSE:
            self._consult(raw + data)
            taken = data
        else:
            taken = data[: self._left]
            self._left -= len(taken)
            self._consult(raw + taken)
        if taken:
            self.body.append(taken)
        if self._left == 0:
            self._finish(data[len(taken) :])
        elif self._second_done:
            raise BadAnswer("two readings of the answer's end differ")

    def _read_chunks(self, data: bytes, raw: bytes) -> None:
        assert self._chunks is not None
        try:
            scan = self._chunks.feed(data, _CHUNKS_A_TURN)
        except Refused:
            raise BadAnswer("the chunked coding is malformed") from None
        self._consult(raw + data[: len(data) - len(scan.rest)])
        if scan.pieces:
            self.body.append(scan.pieces[0] if len(scan.pieces) == 1 else b"".join(scan.pieces))
        if scan.done:
            self._finish(scan.rest)
        elif self._second_done:
            raise BadAnswer("two readings of the answer's end differ")
        else:
            self._backlog = scan.rest

    def _finish(self, rest: bytes) -> None:
        assert self.head is not None
        bodiless = self.head.length == 0
        if not (self._second_head if bodiless and self._to_head else self._second_done):
            raise BadAnswer("two readings of the answer's end differ")
        self.done = True
        self.surplus = bool(rest)

    def _consult(self, data: bytes) -> None:
        """Let llhttp read the same bytes."""
        assert self._second is not None
        try:
            self._second.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise BadAnswer("a second reading of the answer refuses it") from None
