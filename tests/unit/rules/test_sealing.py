"""Sealing: nothing changed opens, and no pair of key and nonce comes twice (C05)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.sealing import Opener, SealBrokenError, Sealer, unseal

KEY = b"k" * 32
HEAD = 1 + 16 + 12


@given(st.binary(max_size=2000), st.binary(max_size=50))
def test_what_was_sealed_opens_for_its_context(plain: bytes, context: bytes) -> None:
    sealed = Sealer(KEY).seal(plain, context)
    assert unseal(KEY, sealed, context) == plain
    opener = Opener.of(KEY, sealed, context)
    assert (opener.plain(), opener.plain()) == (plain, plain)


def test_every_flipped_bit_is_refused() -> None:
    sealed = Sealer(KEY).seal(b"a document", b"acme/1")
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises(SealBrokenError):
                unseal(KEY, bytes(changed), b"acme/1")


def test_every_cut_is_refused() -> None:
    sealed = Sealer(KEY).seal(b"a document", b"acme/1")
    for length in range(len(sealed)):
        with pytest.raises(SealBrokenError):
            unseal(KEY, sealed[:length], b"acme/1")


def test_another_key_or_place_is_refused() -> None:
    sealed = Sealer(KEY).seal(b"a document", b"acme/1")
    for key, context in ((b"x" * 32, b"acme/1"), (KEY, b"acme/2")):
        with pytest.raises(SealBrokenError):
            unseal(key, sealed, context)


def test_no_nonce_comes_twice_and_no_two_sealers_share_a_key() -> None:
    sealer = Sealer(KEY)
    heads = {sealer.seal(b"", b"")[:HEAD] for _ in range(1000)}
    assert len(heads) == 1000
    assert Sealer(KEY).seal(b"", b"")[:17] != sealer.seal(b"", b"")[:17]


def test_the_sealed_bytes_do_not_hold_the_plain_ones() -> None:
    assert b"a document" not in Sealer(KEY).seal(b"a document", b"")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"k" * length)
