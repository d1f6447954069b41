"""The verifier: a good log holds; a forger without the signing key is found, whatever was changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sidecar.adapters.evidence import frames, keys, segments
from sidecar.adapters.evidence.frames import Frame
from sidecar.adapters.evidence.verify import verify_log
from sidecar.errors import Misconfigured
from sidecar.model.evidence import Change, Leaf
from sidecar.rules.notes import Signer
from tests.evidence import a_leaf, append_calls, open_log, write_calls


def last(directory: Path) -> Path:
    return segments.segments(directory)[-1].path


def rewrite(path: Path, change: Callable[[Frame], list[tuple[int, int, bytes]]]) -> None:
    """Write every frame of ``path`` anew with a sound CRC: what a careful forger does."""
    with path.open("rb") as file:
        found = list(frames.frames(file.fileno(), 0, path.stat().st_size))
    path.write_bytes(b"".join(frames.encode(*part) for frame in found for part in change(frame)))


def replacing(old: bytes, new: bytes) -> Callable[[Frame], list[tuple[int, int, bytes]]]:
    return lambda frame: [(frame.kind, frame.index, frame.payload.replace(old, new))]


def said(directory: Path) -> str:
    report = verify_log(directory)
    assert not report.ok
    return " | ".join(problem.what for problem in report.problems)


async def test_a_good_log_of_several_segments_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 6)
    log = await write_calls(tmp_path, 12)
    seen: list[tuple[int, int]] = []
    report = verify_log(tmp_path, lambda done, total: seen.append((done, total)))
    assert report.ok, report.problems
    assert (report.origin, report.records, report.attachments, report.segments) == (log.origin, 24, 12, 4)
    assert (report.checkpoint_size, report.unknown, report.repeated) == (24, [], [])
    assert seen[-1] == (report.bytes, report.bytes)


async def test_intents_without_outcome_are_unknown(tmp_path: Path) -> None:  # E20
    log = open_log(tmp_path)
    await append_calls(log, 1)
    await log.append(a_leaf(call_id="lost"))
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok
    assert report.unknown == [2]


def a_change(call: str, of: int | None = None, code: str | None = None) -> Leaf:
    change = Change(kind="connector", id="crm", verb="put", of=of)
    return msgspec.structs.replace(a_leaf("change", call_id=call), change=change, code=code)


async def test_changes_without_a_second_record_are_unsettled(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for leaf in (a_change("a"), a_change("lost"), a_change("a", of=0), a_change("refused", code="policy_rejected")):
        await log.append(leaf)
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert report.unsettled == [1]


@pytest.mark.parametrize(("call", "of"), [("b", 0), ("a", 5)])
async def test_what_came_of_a_change_needs_its_first_record(tmp_path: Path, call: str, of: int) -> None:
    log = open_log(tmp_path)
    await log.append(a_change("a"))
    await log.append(a_change(call, of=of))
    await log.close()
    assert f"what came of the change {of}" in said(tmp_path)


async def test_a_missing_public_key_is_one_problem_and_not_one_a_record(tmp_path: Path) -> None:
    await write_calls(tmp_path, 3)
    (tmp_path / "checkpoint.pub").unlink()
    report = verify_log(tmp_path)
    assert not report.ok
    assert len(report.problems) == 1
    assert "checkpoint.pub" in report.problems[0].what


async def test_a_second_outcome_is_noted(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 1)
    await log.append(a_leaf("outcome", call_id="call-0", intent=0))
    await log.close()
    report = verify_log(tmp_path)
    assert report.ok
    assert report.repeated == [2]


@pytest.mark.parametrize(
    ("kind", "call", "intent", "what"),
    [
        ("outcome", "call-0", 7, "does not exist"),
        ("outcome", "call-0", 1, "does not exist"),
        ("outcome", "call-0", -1, "does not exist"),
        ("chunk", "another", 2, "another call"),
        ("refusal", "another", 2, "another call"),
    ],
)
async def test_an_outcome_needs_its_own_intent(tmp_path: Path, kind: str, call: str, intent: int, what: str) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 1)
    await log.append(a_leaf(call_id="call-9"))
    await log.append(a_leaf(kind, call_id=call, intent=intent))
    await log.close()
    assert what in said(tmp_path)


async def test_a_live_log_holds_and_a_write_under_way_is_no_problem(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 2)
    with last(tmp_path).open("ab") as file:
        file.write(frames.encode(frames.KIND_INTENT, 4, b"{}")[:-1])
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert report.unfinished_bytes == 18
    await log.close()


async def test_an_erased_tenant_key_leaves_every_proof(tmp_path: Path) -> None:  # E23
    await write_calls(tmp_path, 3)
    (tmp_path / keys.TENANT_FILE).unlink()
    assert verify_log(tmp_path).ok
    log = open_log(tmp_path)
    await append_calls(log, 1)
    await log.close()
    assert verify_log(tmp_path).records == 8
    assert verify_log(tmp_path).ok


async def test_a_changed_leaf_with_a_sound_checksum_breaks_the_root(tmp_path: Path) -> None:
    await write_calls(tmp_path, 3)
    rewrite(last(tmp_path), replacing(b'"agent-1"', b'"agent-2"'))
    assert "is not the signed one" in said(tmp_path)


async def test_a_removed_record_is_noticed(tmp_path: Path) -> None:
    await write_calls(tmp_path, 3)
    rewrite(last(tmp_path), lambda each: [] if each.index == 5 else [(each.kind, each.index, each.payload)])
    assert "covers 6 records, and only 5" in said(tmp_path)
    rewrite(last(tmp_path), lambda each: [] if each.index == 2 else [(each.kind, each.index, each.payload)])
    assert "record 3 stands where 2 belongs" in said(tmp_path)


async def test_a_changed_document_is_noticed_with_its_record(tmp_path: Path) -> None:
    await write_calls(tmp_path, 3)

    def change(frame: Frame) -> list[tuple[int, int, bytes]]:
        is_it = frame.kind == frames.KIND_ATTACHMENT and frame.index == 2
        return [(frame.kind, frame.index, frame.payload[::-1] if is_it else frame.payload)]

    rewrite(last(tmp_path), change)
    report = verify_log(tmp_path)
    assert [problem.index for problem in report.problems] == [2]


async def test_a_removed_or_added_document_is_noticed(tmp_path: Path) -> None:
    await write_calls(tmp_path, 2)
    whole = last(tmp_path).read_bytes()
    rewrite(
        last(tmp_path),
        lambda each: [] if each.kind == frames.KIND_ATTACHMENT else [(each.kind, each.index, each.payload)],
    )
    assert "is missing" in said(tmp_path)
    last(tmp_path).write_bytes(whole)
    rewrite(
        last(tmp_path),
        lambda each: [
            *([(frames.KIND_ATTACHMENT, 1, b"planted")] if each.index == 1 else []),
            (each.kind, each.index, each.payload),
        ],
    )
    assert "not the one the leaf names" in said(tmp_path)


async def test_a_kind_that_differs_from_its_leaf_is_noticed(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    rewrite(
        last(tmp_path),
        lambda each: [(frames.KIND_REFUSAL if each.index == 1 else each.kind, each.index, each.payload)],
    )
    assert "kind differs" in said(tmp_path)


@pytest.mark.parametrize(("old", "new"), [(b'"index":1', b'"index":7'), (b'"origin":"acme', b'"origin":"bcme')])
async def test_a_leaf_that_says_it_is_another_record_is_noticed(tmp_path: Path, old: bytes, new: bytes) -> None:
    await write_calls(tmp_path, 1)
    other = replacing(old, new)
    rewrite(
        last(tmp_path),
        lambda each: other(each) if frames.is_leaf(each.kind) else [(each.kind, each.index, each.payload)],
    )
    assert "the leaf says it is" in said(tmp_path)


async def test_a_time_that_goes_back_is_noticed(tmp_path: Path) -> None:
    await write_calls(tmp_path, 2)
    earlier = replacing(b'"time":1', b'"time":')
    rewrite(
        last(tmp_path), lambda each: earlier(each) if each.index == 2 else [(each.kind, each.index, each.payload)]
    )
    assert "the time goes back" in said(tmp_path)


async def test_a_forged_head_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 4)
    await write_calls(tmp_path, 4)
    path = last(tmp_path)
    whole = path.read_bytes()
    for old, new, what in [
        (b'"open":[]', b'"open":[0]', "does not continue"),
        (b'"bytes":', b'"bytes":1', "does not continue"),
        (b'"time":', b'"time":1', "does not continue"),
        (b'"tree":["', b'"tree":["' + hashlib.sha256(b"x").hexdigest().encode() + b'","', "head is not readable"),
        (b'"origin":"acme', b'"origin":"bcme', "belongs to the log"),
    ]:
        rewrite(path, replacing(old, new))
        assert what in said(tmp_path)
        path.write_bytes(whole)


async def test_a_whole_log_signed_by_another_key_is_noticed_by_who_knows_the_key(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    known = keys.load_verifier(tmp_path).text
    other = Signer(keys.load_verifier(tmp_path).name, b"x" * 32).verifier.text
    assert verify_log(tmp_path, vkey=known).ok
    assert not verify_log(tmp_path, vkey=other).ok
    assert not verify_log(tmp_path, vkey="nonsense").ok


async def test_a_segment_that_cannot_be_read_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    await write_calls(tmp_path, 2)
    segment = last(tmp_path)
    segment.unlink()
    segment.mkdir()  # opens, and reading it fails
    assert "the segment cannot be read: Is a directory" in said(tmp_path)


async def test_a_flood_of_problems_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.adapters.evidence.verify.PROBLEM_LIMIT", 3)
    await write_calls(tmp_path, 10)
    rewrite(last(tmp_path), replacing(b'"tenant"', b'"tenamt"'))
    assert len(verify_log(tmp_path).problems) == 3


def test_no_directory_and_no_log_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such directory"):
        verify_log(tmp_path / "nowhere")
    assert "key file is missing" in said(tmp_path)
