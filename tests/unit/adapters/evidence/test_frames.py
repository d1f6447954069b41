"""Frames: what is written is read, what was changed is not."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.evidence import frames
from sidecar.adapters.evidence.frames import (
    HEADER_BYTES,
    KIND_ATTACHMENT,
    KIND_HEAD,
    KIND_INTENT,
    KIND_OUTCOME,
    FrameBrokenError,
)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "segment", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def fill(descriptor: int, data: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def test_the_layout_is_the_documented_one() -> None:
    frame = frames.encode(KIND_OUTCOME, 7, b"leaf")
    assert frame[:4] == struct.pack(">I", 4)
    assert frame[8:] == b"\x02" + struct.pack(">Q", 7) + b"leaf"
    assert frame[4:8] == struct.pack(">I", google_crc32c.value(frame[8:]))
    assert HEADER_BYTES == 17


def test_every_kind_of_leaf_has_a_number_of_its_own_that_never_changes() -> None:
    """Logs outlive versions: a number that came to mean something else would make old records unreadable."""
    assert frames.LEAF_KINDS == {"intent": 1, "outcome": 2, "refusal": 3, "chunk": 4, "change": 7}
    assert [kind for kind in range(256) if frames.is_leaf(kind)] == [1, 2, 3, 4, 7]


def test_a_whole_frame_of_any_kind_is_found_behind_a_broken_one(descriptor: int) -> None:
    for kind in range(1, 8):
        assert frames.find_frame(b"??" + frames.encode(kind, 5, b"leaf"), 5) == 2
    assert frames.find_frame(b"??" + frames.encode(8, 5, b"leaf"), 5) is None


def test_the_checksum_is_castagnoli() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C


def test_frames_follow_one_another_over_any_buffer_edge(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [(KIND_INTENT, number, b"x" * (number * 7 % 40)) for number in range(50)]
    data = b"".join(frames.encode(*each) for each in written)
    fill(descriptor, data)
    for size in (17, 18, 64, 1 << 20):
        monkeypatch.setattr(frames, "_READ_BYTES", size)
        found = list(frames.frames(descriptor, 0, len(data)))
        assert [(each.kind, each.index, each.payload) for each in found] == written
        assert found[-1].end == len(data)
        listed = list(frames.headers(descriptor, 0, len(data)))
        assert [(offset, kind, index) for offset, kind, index, _ in listed] == [
            (each.offset, each.kind, each.index) for each in found
        ]


def test_attachments_can_be_passed_over(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [(KIND_ATTACHMENT if number % 3 else KIND_INTENT, number, b"x" * 50) for number in range(30)]
    data = b"".join(frames.encode(*each) for each in parts)
    broken = bytearray(data)
    broken[data.index(b"x" * 50, 100)] ^= 1  # in an attachment: nobody looks
    fill(descriptor, bytes(broken))
    for size in (17, 67, 100, 1 << 20):
        monkeypatch.setattr(frames, "_READ_BYTES", size)
        found = list(frames.frames(descriptor, 0, len(data), attachments=False))
        assert [each.index for each in found] == list(range(0, 30, 3))


def test_a_short_read_is_read_on(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = frames.encode(KIND_INTENT, 0, b"x" * 1000)
    fill(descriptor, data)
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: whole(fd, min(size, 13), offset))
    assert [each.payload for each in frames.frames(descriptor, 0, len(data))] == [b"x" * 1000]


def test_every_cut_and_every_flipped_byte_is_noticed(descriptor: int) -> None:
    first, second = frames.encode(KIND_INTENT, 0, b"one"), frames.encode(KIND_HEAD, 1, b"two")
    data = first + second
    for length in range(1, len(data)):
        if length == len(first):
            continue
        fill(descriptor, data[:length])
        with pytest.raises(FrameBrokenError) as broken:
            list(frames.frames(descriptor, 0, length))
        assert broken.value.offset == (0 if length < len(first) else len(first))
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        fill(descriptor, bytes(changed))
        with pytest.raises(FrameBrokenError) as broken:
            list(frames.frames(descriptor, 0, len(data)))
        assert broken.value.offset == (0 if position < len(first) else len(first))


def test_headers_end_quietly_where_a_frame_is_cut_off(descriptor: int) -> None:
    data = frames.encode(KIND_INTENT, 0, b"one") + frames.encode(KIND_INTENT, 1, b"two")
    for length in (20, 21, 36, 39):
        fill(descriptor, data[:length])
        assert [index for _, _, index, _ in frames.headers(descriptor, 0, length)] == [0]
    fill(descriptor, bytes(100))
    assert list(frames.headers(descriptor, 0, 100)) == []
    assert list(frames.headers(descriptor, 0, 200)) == []


@given(st.binary(max_size=200), st.integers(0, 1 << 40), st.integers(0, 1 << 20))
def test_a_frame_behind_anything_is_found(before: bytes, expected: int, ahead: int) -> None:
    tail = b"\x00" + before + frames.encode(KIND_ATTACHMENT, expected + ahead, b"sealed") + b"rest"
    found = frames.find_frame(tail, expected)
    assert found is not None
    assert found <= 1 + len(before)


@given(st.integers(0, 1 << 40))
def test_a_torn_tail_holds_no_frame(expected: int) -> None:
    whole = frames.encode(KIND_INTENT, expected, b"x" * 300)
    assert frames.find_frame(whole, expected) is None  # the torn frame itself does not follow itself
    assert frames.find_frame(whole[:200], expected) is None
    assert frames.find_frame(b"x" + whole[:-1], expected) is None
    assert frames.find_frame(bytes(4096), expected) is None
    assert frames.find_frame(b"", expected) is None


def test_a_frame_of_an_older_index_is_no_follower() -> None:
    assert frames.find_frame(b"?" + frames.encode(KIND_INTENT, 4, b"old"), 5) is None


def test_which_kinds_are_leaves() -> None:
    assert [kind for kind in range(9) if frames.is_leaf(kind)] == [1, 2, 3, 4, 7]
