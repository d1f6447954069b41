"""Coded bodies come out whole, whatever they are cut into; bombs, broken and cut off ones do not come out."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.decoding import Decoder, Undecodable, codings, decoded


def _bare_deflate(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(plain) + packer.flush()


PACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip, two members": ("gzip", lambda plain: gzip.compress(plain[:3]) + gzip.compress(plain[3:])),
    "deflate": ("deflate", zlib.compress),
    "deflate, bare": ("deflate", _bare_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
    "gzip in br": ("gzip, br", lambda plain: brotli.compress(gzip.compress(plain))),
}
ANY = pytest.mark.parametrize("kind", PACK)


def _headers(coding: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/plain"), (b"content-encoding", coding.encode())]


def _in_pieces(kind: str, coded: bytes, size: int, limit: int = 1 << 20) -> bytes:
    decoder = Decoder(codings(_headers(PACK[kind][0])), limit)
    out = [piece for at in range(0, len(coded), size) for piece in decoder.pieces(coded[at : at + size])]
    decoder.finish()
    return b"".join(out)


@ANY
@given(plain=st.binary(max_size=400), size=st.integers(1, 50))
def test_a_coded_body_is_the_same_in_whatever_pieces_it_comes(kind: str, plain: bytes, size: int) -> None:
    coded = PACK[kind][1](plain)
    assert decoded(coded, _headers(PACK[kind][0]), 1 << 20) == plain
    assert _in_pieces(kind, coded, size) == plain


@ANY
@pytest.mark.parametrize("size", [1, 777, 1 << 20])
def test_a_bomb_is_refused_before_it_goes_off(kind: str, size: int) -> None:
    coded = PACK[kind][1](b"\0" * (8 << 20))
    decoder = Decoder(codings(_headers(PACK[kind][0])), 100_000)
    total = 0
    with pytest.raises(Undecodable) as refusal:
        for at in range(0, len(coded), size):
            for piece in decoder.pieces(coded[at : at + size]):
                total += len(piece)
    assert refusal.value.too_large
    assert "100000 bytes" in str(refusal.value)
    assert total <= 100_000


@ANY
def test_h18_a_bomb_never_stands_in_memory_whole(kind: str) -> None:
    """It was made before it was counted: the bound on what comes out bounds no piece of it."""
    coded = PACK[kind][1](b"\0" * (32 << 20))
    decoder = Decoder(codings(_headers(PACK[kind][0])), 1 << 30)
    assert max(map(len, decoder.pieces(coded))) <= 4 << 20


@ANY
def test_a_body_of_exactly_the_bound_is_taken(kind: str) -> None:
    coded = PACK[kind][1](b"x" * 100_000)
    assert _in_pieces(kind, coded, 100, limit=100_000) == b"x" * 100_000
    with pytest.raises(Undecodable):
        _in_pieces(kind, coded, 100, limit=99_999)


@ANY
def test_what_is_cut_off_is_refused(kind: str) -> None:
    coded = PACK[kind][1](b"some text, not too short" * 20)
    for at in {1, 2, len(coded) // 2, len(coded) - 1}:
        with pytest.raises(Undecodable):
            decoded(coded[:at], _headers(PACK[kind][0]), 1 << 20)


@ANY
def test_what_follows_the_coded_data_is_refused(kind: str) -> None:
    coded = PACK[kind][1](b"some text") + b"trailing"
    for size in (1, len(coded)):
        with pytest.raises(Undecodable):
            _in_pieces(kind, coded, size)


@pytest.mark.parametrize("kind", ["deflate", "deflate, bare", "br", "zstd"])
def test_a_second_body_behind_the_first_is_refused(kind: str) -> None:
    """One reader would see both, another the first alone. Only of gzip more members are the same body."""
    coded = PACK[kind][1](b"some text") + PACK[kind][1](b"and other")
    for size in (1, len(coded)):
        with pytest.raises(Undecodable):
            _in_pieces(kind, coded, size)


@ANY
def test_noise_is_refused(kind: str) -> None:
    with pytest.raises(Undecodable) as refusal:
        decoded(b"\xff\xfe this is not coded at all" * 3, _headers(PACK[kind][0]), 1 << 20)
    assert not refusal.value.too_large


@ANY
def test_a_body_of_no_bytes_is_whole(kind: str) -> None:
    assert decoded(b"", _headers(PACK[kind][0]), 10) == b""


def test_a_zstd_window_beyond_8_mib_is_refused() -> None:  # RFC 9659
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    coded = packer.compress(b"x" * 1000) + packer.flush()
    with pytest.raises(Undecodable):
        decoded(coded, _headers("zstd"), 1 << 20)


@pytest.mark.parametrize("coding", ["compress", "gzip, compress", "gzip, gzip, gzip", "gzip;q=1", "utf-8"])
def test_an_unknown_coding_is_refused(coding: str) -> None:
    with pytest.raises(Undecodable):
        codings(_headers(coding))


def test_codings_are_taken_off_from_the_last_one_on() -> None:
    assert codings([(b"content-encoding", b" GZip ,identity"), (b"content-encoding", b"br")]) == ("br", "gzip")
    assert codings([]) == codings([(b"content-encoding", b"identity")]) == ()
