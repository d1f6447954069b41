"""Segment files: their heads, their records, their marks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.adapters.evidence import frames, segments
from sidecar.adapters.evidence.frames import KIND_ATTACHMENT, KIND_HEAD, KIND_INTENT, FrameBrokenError
from sidecar.adapters.evidence.segments import MARK_EVERY, Head, Marks, Previous
from sidecar.rules.tree import Frontier, leaf_hash
from tests.evidence import steps_to_the_disk


def head(first: int = 0) -> Head:
    frontier = Frontier()
    for number in range(first):
        frontier.append(leaf_hash(str(number).encode()))
    previous = Previous(0, 123) if first else None
    return Head(1, "acme-00112233", first, tuple(each.hex() for each in frontier.hashes), (2, 3), 99, previous)


def write(path: Path, *parts: bytes) -> int:
    path.write_bytes(b"".join(parts))
    return os.open(path, os.O_RDWR)


def test_a_new_segment_carries_its_head(tmp_path: Path) -> None:
    descriptor, length = segments.create(tmp_path, head(5))
    assert segments.read_head(descriptor, 5) == (head(5), length)
    assert head(5).frontier().size == 5
    os.close(descriptor)
    (found,) = segments.segments(tmp_path)
    assert (found.first, found.path.name) == (5, "00000000000000000005.seg")
    assert found.path.stat().st_mode & 0o777 == 0o600


def test_a_new_segment_is_durable_under_its_name_before_it_takes_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could take the file away with every record that was acknowledged since (E02)."""
    done = steps_to_the_disk(monkeypatch)
    os.close(segments.create(tmp_path, head())[0])
    assert done == ["fdatasync", "replace", "fsync"]


def test_segments_are_listed_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    for first in (10, 0, 5):
        os.close(segments.create(tmp_path, head(first))[0])
    for stranger in ("checkpoint", "5.seg", "00000000000000000007.seg.tmp", "0000000000000000000x.seg"):
        (tmp_path / stranger).touch()
    assert [each.first for each in segments.segments(tmp_path)] == [0, 5, 10]


def test_a_segment_that_cannot_be_made_leaves_no_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OSError, match="No space"):
        segments.create(tmp_path, head())
    assert segments.segments(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frames.encode(KIND_INTENT, 5, b"{}"),
        frames.encode(KIND_HEAD, 5, b"{}"),
        frames.encode(
            KIND_HEAD, 5, b'{"v":1,"origin":"a","first":5,"tree":["zz"],"open":[],"time":0,"previous":null}'
        ),
        frames.encode(KIND_HEAD, 5, b'{"v":1,"origin":"a","first":5,"tree":[],"open":[],"time":0,"previous":null}'),
        frames.encode(KIND_HEAD, 0, b'{"v":1,"origin":"a","first":0,"tree":[],"open":[],"time":0,"previous":null}'),
    ],
)
def test_a_head_that_cannot_be_is_refused(tmp_path: Path, data: bytes) -> None:
    descriptor = write(tmp_path / "segment", data)
    with pytest.raises(FrameBrokenError):
        segments.read_head(descriptor, 5)
    os.close(descriptor)


def leaf_frame(index: int) -> bytes:
    return frames.encode(KIND_INTENT, index, b"leaf")


def sealed_frame(index: int) -> bytes:
    return frames.encode(KIND_ATTACHMENT, index, b"sealed")


def test_records_join_leaf_and_attachment(tmp_path: Path) -> None:
    descriptor = write(tmp_path / "segment", leaf_frame(7), sealed_frame(8), leaf_frame(8), leaf_frame(9))
    end = os.fstat(descriptor).st_size
    found = list(segments.records(descriptor, 0, end, 7))
    os.close(descriptor)
    assert [(each.index, each.sealed) for each in found] == [(7, None), (8, b"sealed"), (9, None)]
    assert found[1].offset == found[0].end
    assert found[2].end == end


@pytest.mark.parametrize(
    "wrong",
    [
        [leaf_frame(9)],
        [leaf_frame(7)],
        [sealed_frame(8)],
        [sealed_frame(8), sealed_frame(8), leaf_frame(8)],
        [sealed_frame(8), leaf_frame(9)],
        [frames.encode(KIND_HEAD, 8, b"{}")],
        [sealed_frame(8), b"torn"],
    ],
)
def test_a_record_that_is_not_whole_is_refused_from_where_it_begins(tmp_path: Path, wrong: list[bytes]) -> None:
    good = leaf_frame(7)
    descriptor = write(tmp_path / "segment", good, *wrong)
    seen = []
    with pytest.raises(FrameBrokenError) as broken:
        for record in segments.records(descriptor, 0, os.fstat(descriptor).st_size, 7):
            seen.append(record.index)
    os.close(descriptor)
    assert seen == [7]
    assert broken.value.offset == len(good)


def test_marks_lead_to_the_block_of_a_record(tmp_path: Path) -> None:
    count = 2 * MARK_EVERY + 5
    parts = [part for index in range(count) for part in (sealed_frame(index), leaf_frame(index))]
    descriptor = write(tmp_path / "segment", frames.encode(KIND_HEAD, 0, b"{}"), *parts)
    marks = Marks(0)
    marks.extend(descriptor)
    assert (marks.next, marks.end, len(marks.offsets)) == (count, os.fstat(descriptor).st_size, 3)
    for index in (0, MARK_EVERY - 1, MARK_EVERY, count - 1):
        first, offset, end = marks.block(index)
        found = [each.index for each in segments.records(descriptor, offset, end, first)]
        assert index in found
        assert len(found) <= MARK_EVERY
    os.close(descriptor)


def test_marks_learn_what_was_added_and_stop_at_what_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    descriptor = write(path, frames.encode(KIND_HEAD, 0, b"{}"), leaf_frame(0), sealed_frame(1))
    marks = Marks(0)
    marks.extend(descriptor)
    assert marks.next == 1
    with path.open("ab") as file:
        file.write(leaf_frame(1) + leaf_frame(3))
    marks.extend(descriptor)
    assert marks.next == 2
    os.close(descriptor)
