"""From a leaf to its stored bytes: one spelling, sealed documents, and never too large (E21)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.evidence import records, segments
from sidecar.adapters.evidence.keys import TenantKey
from sidecar.adapters.evidence.records import Recorder
from sidecar.adapters.evidence.segments import Record
from sidecar.model.evidence import LEAF_LIMIT, Attachment, CredentialUse, DestinationUse
from sidecar.rules.sealing import unseal
from sidecar.rules.tree import leaf_hash
from tests.evidence import a_leaf

KEY = TenantKey(b"k" * 32)
ORIGIN = "acme-00112233"


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(ORIGIN, KEY)


def read_back(data: bytes, directory: Path, index: int = 5) -> Record:
    path = directory / "record"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (record,) = segments.records(descriptor, 0, len(data), index)
    finally:
        os.close(descriptor)
    return record


def test_a_leaf_gets_its_place(recorder: Recorder, tmp_path: Path) -> None:
    stored = recorder.store(a_leaf(), 5, 17, None)
    record = read_back(stored.data, tmp_path)
    leaf = records.decode(record.leaf)
    assert (leaf.origin, leaf.index, leaf.time, leaf.attachment) == (ORIGIN, 5, 17, None)
    assert stored.hash == leaf_hash(record.leaf)
    assert record.sealed is None


def test_one_leaf_has_one_spelling(recorder: Recorder) -> None:
    one = recorder.store(a_leaf(obligations={"a": {"x": 1, "y": 2}, "b": 2}, timings={"p": 1, "q": 2}), 5, 17, None)
    two = recorder.store(a_leaf(obligations={"b": 2, "a": {"y": 2, "x": 1}}, timings={"q": 2, "p": 1}), 5, 17, None)
    assert one.data == two.data


def test_a_document_is_sealed_beside_its_leaf_and_bound_to_its_place(recorder: Recorder, tmp_path: Path) -> None:
    stored = recorder.store(a_leaf(), 5, 17, b'{"input": "private"}')
    record = read_back(stored.data, tmp_path)
    assert record.sealed is not None
    assert b"private" not in stored.data
    assert records.decode(record.leaf).attachment == Attachment(hashlib.sha256(record.sealed).hexdigest(), KEY.id)
    assert unseal(KEY.sealing, record.sealed, records.context(ORIGIN, 5)) == b'{"input": "private"}'


HUGE = a_leaf(
    "refusal",
    code="denied",
    reasons=tuple({"code": f"c{number}", "message": "m" * 700} for number in range(100)),
)


def test_a_leaf_of_70_kb_fits_and_its_whole_is_sealed(recorder: Recorder, tmp_path: Path) -> None:  # E21
    record = read_back(recorder.store(HUGE, 5, 17, None).data, tmp_path)
    leaf = records.decode(record.leaf)
    assert len(record.leaf) <= LEAF_LIMIT
    assert (leaf.code, leaf.index) == ("denied", 5)
    assert leaf.reasons[0] == HUGE.reasons[0]
    assert leaf.reasons[-1] == {"code": "trimmed", "message": "36 more"}
    assert record.sealed is not None
    whole = records.decode(unseal(KEY.sealing, record.sealed, records.context(ORIGIN, 5)))
    assert whole.reasons == HUGE.reasons


def test_a_trimmed_leaf_keeps_the_document_it_came_with(recorder: Recorder, tmp_path: Path) -> None:
    record = read_back(recorder.store(HUGE, 5, 17, b"input").data, tmp_path)
    assert record.sealed is not None
    assert unseal(KEY.sealing, record.sealed, records.context(ORIGIN, 5)) == b"input"


texts = st.one_of(st.sampled_from(["\x01" * 70_000, "ü" * 40_000, "short"]), st.text(max_size=20))
values: st.SearchStrategy[Any] = st.recursive(
    texts | st.integers(-(2**63), 2**63),
    lambda inner: st.lists(inner, max_size=8).map(lambda each: each * 20) | st.dictionaries(texts, inner, max_size=8),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("call_id", "principal", "plane", "operation", "session", "idempotency_key"), texts),
            **dict.fromkeys(("code", "peer", "bundle", "action", "connector", "surface", "tenant"), texts),
            "reasons": st.lists(st.dictionaries(texts, texts, max_size=5), max_size=9).map(lambda r: tuple(r * 30)),
            "obligations": st.dictionaries(texts, values, max_size=9),
            "timings": st.dictionaries(st.text(max_size=9), st.integers(0, 10**9), max_size=20).map(
                lambda timings: {f"{name}{number}": 1 for name in timings for number in range(200)}
            ),
            "destination": st.builds(DestinationUse, host=texts, port=st.just(443), ip=texts, sni=texts, peer=texts),
            "credential": st.builds(CredentialUse, ref=texts, version=texts),
        },
    )
)
def test_every_leaf_fits_and_is_still_a_leaf(fields: dict[str, Any]) -> None:  # E21
    stored = Recorder(ORIGIN, KEY).store(a_leaf("refusal", **fields), 5, 17, b"input")
    data = stored.data[stored.data.rindex(b'{"v":1') :]
    assert len(data) <= LEAF_LIMIT
    leaf = records.decode(data)
    assert (leaf.origin, leaf.index, leaf.time, leaf.kind) == (ORIGIN, 5, 17, "refusal")


@pytest.mark.parametrize("unencodable", [{"a": object()}, {"a": "\ud800"}])
def test_a_leaf_that_is_no_json_is_an_error(recorder: Recorder, unencodable: dict[str, Any]) -> None:
    with pytest.raises((TypeError, UnicodeError)):
        recorder.store(a_leaf(obligations=unencodable), 5, 17, None)
