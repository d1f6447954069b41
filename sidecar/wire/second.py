"""The second reader of every request: llhttp, fed the same bytes. It has no say but a veto."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sidecar.errors import Refused
from sidecar.wire.fields import Fields
from sidecar.wire.gate import CHUNKED, Head


class SecondReader:
    """llhttp over one connection. Its methods raise ``Refused("malformed")`` when the two readers disagree.

    Feed it exactly the bytes of one message after ``begin``, and no byte of the next.
    """

    __slots__ = ("_complete", "_headers", "_parser", "_target", "keep_alive")

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._headers: Fields = []
        self._target = b""
        self._complete = False
        self.keep_alive = True  # of the last message, once it ended

    def on_url(self, target: bytes) -> None:
        """Called by llhttp, once for a head that is fed whole."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp for each field line, trailers included."""
        if len(self._headers) <= 1 << 10:  # trailers count too, and no head has so many
            self._headers.append((name, value))

    def on_message_complete(self) -> None:
        """Called by llhttp; what it thinks of the connection is only known now."""
        self._complete = True
        self.keep_alive = self._parser.should_keep_alive()

    def begin(self, head: Head, data: bytes) -> None:
        """``data`` is the message's head, and as much of its body as there is."""
        self._headers = []
        self._target = b""
        self._complete = False
        self.feed(data)
        headers = self._headers
        if head.body == CHUNKED:  # trailers follow the head's own lines when the message came in one piece
            headers = headers[: len(head.raw_headers)]
        method = self._parser.get_method()
        if headers != head.raw_headers or self._target != head.raw_target or method != head.method.encode():
            raise _disagree()

    def feed(self, data: bytes) -> None:
        """More of the same message."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise _disagree() from None

    def expect(self, complete: bool) -> None:
        """The first reader thinks the message has ended (or not yet)."""
        if self._complete is not complete:
            raise _disagree()


def _disagree() -> Refused:
    return Refused("malformed", "two readers of the same bytes do not agree on the message")
