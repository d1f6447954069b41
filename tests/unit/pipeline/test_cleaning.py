"""Codings come off and secrets out, in one go or piece by piece, and never in a step of unbounded work."""

from __future__ import annotations

import base64
import gzip

import brotli
import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Unavailable
from sidecar.model.decision import Obligations
from sidecar.model.secret import Secret
from sidecar.pipeline.cleaning import Cleaning, cleaning
from sidecar.rules.catalogue import compile_catalogue
from sidecar.rules.decoding import Decoder
from sidecar.rules.scrub import PIECE, Scrubber
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import CONFIG

GET = compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["crm"].operations["get"]
SCRUBBER = Scrubber([Secret("secret-1234")])
TEXT = b"a secret-1234 " * 10_000
CLEAN = b"a [REDACTED] " * 10_000


def decoder(coding: str = "gzip", limit: int = 1 << 20) -> Decoder:
    return Decoder([coding], limit)


def test_a_small_body_without_coding_is_done_at_once() -> None:
    assert Cleaning(SCRUBBER, None).at_once(b"a secret-1234", 100) == b"a [REDACTED]"
    assert Cleaning(SCRUBBER, None).at_once(b"a secret-1234", 5) is None
    assert Cleaning(SCRUBBER, decoder()).at_once(b"", 100) is None


@pytest.mark.parametrize("size", [1000, len(TEXT)])
def test_a108_a_coded_body_is_decoded_and_scrubbed(size: int) -> None:
    coded = gzip.compress(TEXT)
    clean = Cleaning(SCRUBBER, decoder())
    out = [part for at in range(0, len(coded), size) for part in clean.feed(coded[at : at + size])]
    assert b"".join([*out, clean.finish()]) == CLEAN
    assert b"".join(Cleaning(SCRUBBER, decoder()).pieces(coded)) == CLEAN
    assert b"".join(Cleaning(SCRUBBER, None).pieces(TEXT)) == CLEAN


def test_no_step_is_larger_than_a_piece() -> None:
    clean = Cleaning(SCRUBBER, decoder("br", 100 << 20))
    assert max(map(len, clean.feed(brotli.compress(b"\0" * (20 << 20))))) <= PIECE


@pytest.mark.parametrize(
    ("body", "limit", "code"),
    [
        (gzip.compress(TEXT)[:-1], 1 << 20, "answer_withheld"),
        (gzip.compress(TEXT) + b"x", 1 << 20, "answer_withheld"),
        (b"not gzip at all", 1 << 20, "answer_withheld"),
        (gzip.compress(TEXT), 1000, "answer_too_large"),
    ],
)
def test_what_cannot_be_decoded_does_not_pass(body: bytes, limit: int, code: str) -> None:
    with pytest.raises(Unavailable) as refusal:
        b"".join(Cleaning(SCRUBBER, decoder(limit=limit)).pieces(body))
    assert refusal.value.code == code


def test_the_headers_are_clean_and_name_no_coding_that_is_gone() -> None:
    headers = [(b"content-encoding", b"gzip"), (b"content-type", b"text/plain"), (b"etag", b"secret-1234")]
    answer = answered(gzip.compress(b"secret-1234"), headers=headers)
    clean, passed = cleaning(answer, GET, Obligations(), 1000, SCRUBBER)
    assert passed == [(b"content-type", b"text/plain"), (b"etag", b"[REDACTED]")]
    assert b"".join(clean.pieces(gzip.compress(b"secret-1234"))) == b"[REDACTED]"


def test_an_answer_that_nobody_reads_keeps_its_coding() -> None:
    answer = answered(b"\x1f\x8b", headers=[(b"content-encoding", b"gzip")])
    clean, passed = cleaning(answer, GET, Obligations(), 1000, Scrubber(()))
    assert passed == answer.headers
    assert b"".join(clean.pieces(b"\x1f\x8b")) == b"\x1f\x8b"
    with pytest.raises(Unavailable):
        b"".join(cleaning(answer, GET, Obligations(mask=("/a",)), 1000, Scrubber(()))[0].pieces(b"\x1f\x8b"))


def test_only_a_coded_answer_stands_for_more_than_its_size() -> None:
    assert Cleaning(SCRUBBER, decoder()).decodes
    assert not Cleaning(SCRUBBER, None).decodes


@pytest.mark.parametrize(
    ("kind", "by_line"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"application/x-ndjson", True),
        (b"text/plain", False),
        (b"application/octet-stream", False),
    ],
)
def test_inv_5_a_stream_of_events_or_documents_goes_out_line_by_line(kind: bytes, by_line: bool) -> None:
    clean, _ = cleaning(answered(Pieces(), headers=[(b"content-type", kind)]), GET, Obligations(), 1000, SCRUBBER)
    assert b"".join(clean.feed(b"a line\nsecr")) == b"a line\n"
    assert b"".join(clean.feed(b"x")) == (b"" if by_line else b"secrx")
    assert clean.finish() == (b"secrx" if by_line else b"")


def test_a_whole_body_of_lines_is_searched_over_them() -> None:
    packed = base64.encodebytes(b"x" * 53 + b"secret-1234" + b"x" * 50)
    answer = answered(packed, headers=[(b"content-type", b"text/event-stream")])
    clean, _ = cleaning(answer, GET, Obligations(), 1000, SCRUBBER)
    assert b"[REDACTED]" in b"".join(clean.pieces(packed))
