"""Reading: any record of any segment, bounded pages, and nothing that is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidecar.adapters.evidence import reader as reader_module
from sidecar.adapters.evidence import segments
from sidecar.adapters.evidence.reader import Reader
from sidecar.errors import Misconfigured, Unavailable
from tests.evidence import a_leaf, append_calls, open_log, write_calls


@pytest.fixture
async def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(segments, "MARK_EVERY", 8)
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 40)
    await write_calls(tmp_path, 60)
    assert len(segments.segments(tmp_path)) >= 3
    return tmp_path


def test_every_record_is_found(directory: Path) -> None:
    reader = Reader.open(directory)
    assert reader.size() == 120
    for index in range(120):
        leaf = reader.read(index)
        assert leaf is not None
        assert leaf.index == index
        assert leaf.call_id == f"call-{index // 2}"
    assert reader.read(120) is None
    assert reader.read(-1) is None


def test_a_range_is_in_order_over_segments(directory: Path) -> None:
    reader = Reader.open(directory)
    assert [leaf.index for leaf in reader.range(33, 97)] == list(range(33, 97))
    assert list(reader.range(5, 5)) == []


def test_a_page_is_bounded_by_what_it_looks_at(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SCAN_LIMIT", 50)
    reader = Reader.open(directory)
    page, before = reader.recent("nobody", 10, 120)
    assert page == []
    assert before is not None
    assert 40 <= before <= 70
    pages = 1
    while before is not None:
        page, before = reader.recent("nobody", 10, before)
        pages += 1
    assert pages <= 4


async def test_a_reader_sees_what_another_process_adds(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 2)
    reader = Reader.open(tmp_path)
    assert reader.size() == 4
    await log.append(a_leaf(call_id="later"))
    assert reader.size() == 5
    leaf = reader.read(4)
    assert leaf is not None
    assert leaf.call_id == "later"
    await log.close()


def test_a_missing_middle_segment_is_damage_not_absence(directory: Path) -> None:
    middle = segments.segments(directory)[1]
    middle.path.unlink()
    with pytest.raises(Unavailable) as failure:
        Reader.open(directory).read(middle.first)
    assert failure.value.code == "evidence_unavailable"


def test_a_record_of_another_log_is_not_returned(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for segment in segments.segments(directory):
        shutil.copy(segment.path, other)
    with pytest.raises(Unavailable):
        Reader(other, "acme-99999999").read(3)


def test_no_log_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"checkpoint\.pub"):
        Reader.open(tmp_path)
    assert Reader(tmp_path, "acme-00112233").size() == 0
    assert Reader(tmp_path, "acme-00112233").read(0) is None
