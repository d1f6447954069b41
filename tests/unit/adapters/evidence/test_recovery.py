"""What a start believes: torn tails are cut, everything else that does not add up refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.adapters.evidence import checkpoints, frames, segments
from sidecar.adapters.evidence.keys import load_verifier
from sidecar.adapters.evidence.recovery import State, recover
from sidecar.adapters.evidence.verify import verify_log
from sidecar.errors import Misconfigured
from tests.evidence import a_leaf, append_calls, open_log, write_calls


def recovered(directory: Path) -> State:
    verifier = load_verifier(directory)
    state = recover(directory, verifier.name, checkpoints.load(directory, verifier))
    os.close(state.descriptor)
    return state


@pytest.fixture
async def torn(tmp_path: Path) -> Path:
    """A log of eight records whose checkpoint covers the first four, as a crash leaves it."""
    log = await write_calls(tmp_path, 2)
    kept = (tmp_path / "checkpoint").read_bytes()
    log = open_log(tmp_path)
    await append_calls(log, 2)
    await log.close()
    (tmp_path / "checkpoint").write_bytes(kept)
    return tmp_path


def last(directory: Path) -> Path:
    return segments.segments(directory)[-1].path


def test_records_past_the_checkpoint_are_kept(torn: Path) -> None:
    state = recovered(torn)
    assert (state.frontier.size, state.repaired, list(state.open)) == (8, 0, [])
    assert state.length == last(torn).stat().st_size


def test_a_torn_tail_past_the_checkpoint_is_cut(torn: Path) -> None:
    whole = last(torn).read_bytes()
    last(torn).write_bytes(whole[:-5])
    state = recovered(torn)
    assert state.frontier.size == 7
    assert state.repaired > 0
    assert list(state.open) == [6]
    assert last(torn).stat().st_size == state.length
    assert verify_log(torn).ok
    assert recovered(torn).repaired == 0


def test_zeros_at_the_end_are_a_torn_tail(torn: Path) -> None:
    with last(torn).open("ab") as file:
        file.write(bytes(5000))
    assert recovered(torn).repaired == 5000


def test_a_bad_frame_with_a_good_one_behind_it_refuses(torn: Path) -> None:
    data = bytearray(last(torn).read_bytes())
    position = data.rindex(b'"index":6') + 4
    data[position] ^= 1
    last(torn).write_bytes(bytes(data))
    with pytest.raises(Misconfigured, match="a whole frame follows"):
        recovered(torn)
    assert last(torn).read_bytes() == bytes(data)


def test_a_tail_torn_before_the_checkpoint_refuses(torn: Path) -> None:
    data = last(torn).read_bytes()
    cut = data[: data.index(b'"index":3')]
    last(torn).write_bytes(cut)
    with pytest.raises(Misconfigured, match="the signed checkpoint covers"):
        recovered(torn)
    assert last(torn).read_bytes() == cut


def test_a_forged_record_with_a_sound_checksum_refuses(torn: Path) -> None:
    path = last(torn)
    with path.open("rb") as file:
        found = list(frames.frames(file.fileno(), 0, path.stat().st_size))
    path.write_bytes(
        b"".join(
            frames.encode(each.kind, each.index, each.payload.replace(b'"agent-1"', b'"agent-2"')) for each in found
        )
    )
    with pytest.raises(Misconfigured, match="differ from the signed checkpoint"):
        recovered(torn)


def test_a_tail_larger_than_any_write_refuses(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.adapters.evidence.recovery.TAIL_LIMIT", 100)
    with last(torn).open("ab") as file:
        file.write(bytes(101))
    with pytest.raises(Misconfigured, match="more than one write"):
        recovered(torn)


async def test_a_checkpoint_that_covers_more_than_there_is_refuses(tmp_path: Path) -> None:  # E11
    await write_calls(tmp_path, 2)
    early = last(tmp_path).read_bytes()
    await write_calls(tmp_path, 2)
    last(tmp_path).write_bytes(early)
    with pytest.raises(Misconfigured, match="covers 8 records and only 4"):
        recovered(tmp_path)


async def test_all_segments_deleted_refuses(tmp_path: Path) -> None:  # E11
    await write_calls(tmp_path, 2)
    last(tmp_path).unlink()
    with pytest.raises(Misconfigured, match="only 0 are there"):
        recovered(tmp_path)


@pytest.fixture
async def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of several segments."""
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 4)
    await write_calls(tmp_path, 8)
    assert len(segments.segments(tmp_path)) >= 4
    return tmp_path


def test_a_chain_is_recovered_from_its_last_segment(chain: Path) -> None:
    state = recovered(chain)
    assert state.frontier.size == 16
    assert set(state.marks) == {segments.segments(chain)[-1].first}


@pytest.mark.parametrize("position", [0, 1, 2, -1])
def test_no_segment_can_be_deleted(chain: Path, position: int) -> None:  # E11
    segments.segments(chain)[position].path.unlink()
    with pytest.raises(Misconfigured):
        recovered(chain)


@pytest.mark.parametrize("position", [0, 1, 2, -1])
def test_no_segment_can_be_cut(chain: Path, position: int) -> None:
    path = segments.segments(chain)[position].path
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(Misconfigured):
        recovered(chain)


async def test_a_checkpoint_in_an_earlier_segment_is_found(chain: Path, tmp_path: Path) -> None:
    kept = (chain / "checkpoint").read_bytes()
    log = open_log(chain)
    await append_calls(log, 5)
    await log.append(a_leaf())
    await log.close()
    (chain / "checkpoint").write_bytes(kept)
    state = recovered(chain)
    assert state.frontier.size == 27
    assert list(state.open) == [26]


async def test_another_logs_segments_refuse(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    await write_calls(one, 2)
    await write_calls(two, 2)
    last(one).write_bytes(last(two).read_bytes())
    with pytest.raises(Misconfigured, match="belongs to the log"):
        recovered(one)


async def test_what_was_read_from_the_cache_is_written_again(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    whole = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        written.append(bytes(data))
        return whole(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    before = last(torn).read_bytes()
    recovered(torn)
    again = b"".join(written)
    assert last(torn).read_bytes() == before
    assert before.endswith(again)
    assert again.count(b'{"v":1') == 4
