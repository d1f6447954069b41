"""Step 11 as one stream: what an upstream sends, its codings taken off and this call's secrets taken out.

Every step of it is bounded: a small coded piece may stand for a very long text, so what comes out is an iterator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sidecar.errors import Unavailable
from sidecar.model.decision import Obligations
from sidecar.model.exchange import Inbound
from sidecar.pipeline.answer import Headers, check_answer, is_read, passed_headers, withheld
from sidecar.rules.catalogue import Operation
from sidecar.rules.decoding import Decoder, Undecodable
from sidecar.rules.scrub import PIECE, Scrubber

# Whose lines stand for themselves: nobody reads half of one.
_BY_LINE: Final = frozenset(
    {b"text/event-stream", b"application/x-ndjson", b"application/ndjson", b"application/jsonl"}
)
HEAD_SEARCHED: Final = 1 << 14  # bytes of the headers that would pass; more of a hostile text would hold the others


def cleaning(
    inbound: Inbound, operation: Operation, obligations: Obligations, limit: int, scrubber: Scrubber
) -> tuple[Cleaning, Headers]:
    """What cleans the body of ``inbound``, of at most ``limit`` bytes once decoded, and the headers, clean already.

    Raises ``Unavailable`` for an answer of a wrong type, or one that nobody could read.
    """
    read = scrubber.longest > 0 or is_read(operation, obligations)
    decoder = check_answer(inbound, operation, limit, read=read)
    headers = passed_headers(inbound.headers, decoded=decoder is not None)
    if scrubber.longest:
        headers = _searched(inbound, headers, scrubber)
    by_line = not isinstance(inbound.body, bytes) and _has_lines(inbound)
    return Cleaning(scrubber, decoder, by_line=by_line), headers


def _has_lines(inbound: Inbound) -> bool:
    kinds = [value.partition(b";")[0].strip().lower() for name, value in inbound.headers if name == b"content-type"]
    return len(kinds) == 1 and kinds[0] in _BY_LINE


def _searched(inbound: Inbound, headers: Headers, scrubber: Scrubber) -> Headers:
    if not scrubber.can_read(inbound.headers):
        raise Unavailable("answer_withheld", "The answer is in a charset that cannot be searched for this secret.")
    if sum(len(name) + len(value) for name, value in headers) > HEAD_SEARCHED:
        raise Unavailable("answer_withheld", "The answer's headers are too long to be searched for secrets.")
    return scrubber.scrub_headers(headers)[0]


class Cleaning:
    """One answer's. ``decoder`` is None where it has no coding; ``by_line`` as in ``sidecar.rules.scrub.Stream``."""

    __slots__ = ("_decoder", "_scrubber", "_stream")

    def __init__(self, scrubber: Scrubber, decoder: Decoder | None, *, by_line: bool = False) -> None:
        self._scrubber = scrubber
        self._stream = scrubber.stream(by_line=by_line)
        self._decoder = decoder

    @property
    def decodes(self) -> bool:
        """Whether a piece may stand for much more than its own size."""
        return self._decoder is not None

    def at_once(self, body: bytes, largest: int) -> bytes | None:
        """A whole body, clean, where that is little work: at most ``largest`` bytes and no coding; else None."""
        if self._decoder is not None or len(body) > largest:
            return None
        return self._scrubber.scrub_body(body)[0]

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What may go out now, in pieces. Raises ``Unavailable`` for what cannot be decoded or told from a secret."""
        if self._decoder is None:
            step = PIECE if self._scrubber.longest else len(piece) or 1
            for at in range(0, len(piece), step):
                yield self._stream.feed(piece[at : at + step])
            return
        try:
            for text in self._decoder.pieces(piece):
                for at in range(0, len(text), PIECE):
                    yield self._stream.feed(text[at : at + PIECE])
        except Undecodable as error:
            raise withheld(error) from None

    def finish(self) -> bytes:
        """The rest, once the answer has ended. Raises ``Unavailable`` where its coding was cut off."""
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except Undecodable as error:
                raise withheld(error) from None
        return self._stream.finish()

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """A whole body in steps of bounded work, for a caller that lets others run between them."""
        for at in range(0, len(body), PIECE):
            yield from self.feed(body[at : at + PIECE])
        yield self.finish()
