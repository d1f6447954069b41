"""Every byte of a log, cut or changed: a valid prefix or a refusal, and never a wrong record (E03, E04, E11)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidecar.adapters.evidence import segments
from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.verify import verify_log
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.evidence import Leaf
from tests.evidence import append_calls, open_log, write_calls

CALLS = 3
JUDGED_BY_VERIFY = ("checkpoint", "checkpoint.pub")
JUDGED_BY_A_START = (*JUDGED_BY_VERIFY, "checkpoint.key", "tenant.key", "origin")


@pytest.fixture
async def original(tmp_path: Path) -> Path:
    """A small log whose checkpoint covers all of it."""
    directory = tmp_path / "original"
    log = open_log(directory)
    await append_calls(log, CALLS, size=5)
    await log.close()
    return directory


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """The same, but the checkpoint covers the first call only."""
    directory = tmp_path / "crashed"
    await write_calls(directory, 1)
    kept = (directory / "checkpoint").read_bytes()
    log = open_log(directory)
    await append_calls(log, CALLS - 1, size=5)
    await log.close()
    (directory / "checkpoint").write_bytes(kept)
    return directory


def leaves(directory: Path, size: int = 2 * CALLS) -> list[Leaf]:
    return list(Reader.open(directory).range(0, size))


def segment(directory: Path) -> Path:
    return segments.segments(directory)[-1].path


async def start(directory: Path) -> int | None:
    """The size a start finds, None when it refuses. A refusal changes nothing."""
    before = segment(directory).read_bytes()
    try:
        log = open_log(directory)
    except Misconfigured as refusal:
        assert str(directory) in str(refusal)
        assert segment(directory).read_bytes() == before
        return None
    size = log.size
    await log.close()
    return size


def check_reads(directory: Path, good: list[Leaf]) -> None:
    """No read gives anything but the record that was written, or says that it cannot."""
    try:
        reader = Reader(directory, good[0].origin)
        for index, leaf in enumerate(good):
            assert reader.read(index) in (leaf, None)
        found, _ = reader.recent(None, 100, reader.size())
        assert found == list(reversed(good[: len(found)]))
    except Unavailable as failure:
        assert failure.code == "evidence_unavailable"


async def test_a_log_cut_at_any_byte_refuses_when_it_was_signed(original: Path, tmp_path: Path) -> None:  # E03, E11
    good, data = leaves(original), segment(original).read_bytes()
    broken = tmp_path / "broken"
    shutil.copytree(original, broken)
    for length in range(len(data)):
        segment(broken).write_bytes(data[:length])
        assert not verify_log(broken).ok
        check_reads(broken, good)
        assert await start(broken) is None, length


async def test_a_log_cut_at_any_byte_is_a_valid_prefix_past_its_checkpoint(
    crashed: Path, tmp_path: Path
) -> None:  # E03
    good, data = leaves(crashed), segment(crashed).read_bytes()
    ends = [data.index(b'"index":%d,' % index) for index in range(2 * CALLS)]
    kept = (crashed / "checkpoint").read_bytes()
    broken = tmp_path / "broken"
    shutil.copytree(crashed, broken)
    for length in range(len(data)):
        segment(broken).write_bytes(data[:length])
        (broken / "checkpoint").write_bytes(kept)
        whole = sum(length > end for end in ends)  # at most: the last of them may be cut
        signed = verify_log(broken).ok
        size = await start(broken)
        assert (size is not None) == signed
        if size is None:
            assert whole <= 2
            continue
        assert size in (whole, whole - 1)
        assert size >= 2
        assert leaves(broken, size) == good[:size]
        assert verify_log(broken).ok


async def test_any_changed_byte_of_the_segment_is_caught(original: Path, tmp_path: Path) -> None:  # E04
    good, data = leaves(original), segment(original).read_bytes()
    broken = tmp_path / "broken"
    shutil.copytree(original, broken)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        segment(broken).write_bytes(bytes(changed))
        report = verify_log(broken)
        assert not report.ok, position
        assert any(problem.index is not None or problem.offset is not None for problem in report.problems)
        check_reads(broken, good)
        assert await start(broken) is None, position


@pytest.mark.parametrize("name", JUDGED_BY_A_START)
async def test_any_changed_byte_of_any_other_file_is_caught(original: Path, tmp_path: Path, name: str) -> None:  # E04
    broken = tmp_path / "broken"
    shutil.copytree(original, broken)
    path = broken / name
    data = path.read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(changed))
        if name in JUDGED_BY_VERIFY:
            assert not verify_log(broken).ok, position
        assert await start(broken) is None, position


async def test_any_missing_file_that_matters_is_caught(original: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("checkpoint", "checkpoint.key", "checkpoint.pub", "origin")):
        broken = tmp_path / str(number)
        shutil.copytree(original, broken)
        (broken / name).unlink()
        assert await start(broken) is None, name


async def test_an_older_copy_of_the_segment_refuses(original: Path, tmp_path: Path) -> None:  # E11
    older = tmp_path / "older"
    shutil.copytree(original, older)
    log = open_log(original)
    await append_calls(log, 1)
    await log.close()
    shutil.copy(segment(older), segment(original))
    assert await start(original) is None


async def test_a_whole_older_directory_is_an_honest_log(original: Path, tmp_path: Path) -> None:
    """What only a witness can notice: everything was put back, checkpoint and all. It verifies; that is the limit."""
    older = tmp_path / "older"
    shutil.copytree(original, older)
    shutil.rmtree(original)
    assert await start(older) == 2 * CALLS
