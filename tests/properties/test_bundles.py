"""A signed bundle that was changed anywhere is refused, or is still the same bundle: never another one (P03)."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.policy.bundles import Opened, Terms
from sidecar.errors import Misconfigured
from tests.fakes import bundles as made

GRANTS = '{"acme": {"principals": {"agent": ["orders/*"]}}}'


@cache
def archive() -> bytes:
    return made.bundle({"custom.rego": made.ALLOW, "sidecar/grants/data.json": GRANTS}, sequence=7)


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Terms:
    folder: Path = tmp_path_factory.mktemp("keys")
    return Terms({"release": ("RS256", made.written_key(folder))}, "", False, 5.0, None, "acme", 0.1)


def packed(content: bytes) -> bytes:
    return content


def repacked(content: bytes) -> bytes:
    return gzip.compress(content, 1)


@pytest.mark.parametrize("pack", [packed, repacked], ids=["of the archive", "of what is in it"])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_p03_no_changed_byte_makes_another_bundle(
    terms: Terms, pack: Callable[[bytes], bytes], changes: list[tuple[float, int]]
) -> None:
    good = Opened(terms, archive()).about
    content = bytearray(archive() if pack is packed else gzip.decompress(archive()))
    for where, what in changes:
        content[int(where * len(content))] ^= what
    try:
        about = Opened(terms, pack(bytes(content))).about
    except Misconfigured as error:
        assert error.reasons
    else:  # white space of JSON may have changed, which a signature does not cover and which means nothing
        assert (about.revision, about.sequence, about.key) == (good.revision, good.sequence, good.key)


@given(length=st.floats(0, 1, exclude_max=True))
def test_p03_no_part_of_a_bundle_is_a_bundle(terms: Terms, length: float) -> None:
    with pytest.raises(Misconfigured):
        Opened(terms, archive()[: int(length * len(archive()))])


@given(content=st.binary(max_size=2000))
def test_no_bytes_break_the_reader(terms: Terms, content: bytes) -> None:
    for candidate in (content, gzip.compress(content), made.packed({"custom.rego": content, ".manifest": content})):
        with pytest.raises(Misconfigured):
            Opened(terms, candidate)
