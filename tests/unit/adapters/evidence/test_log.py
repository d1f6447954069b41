"""The log as a whole: begun once, continued after, refused when it is not itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from sidecar.adapters.evidence import keys, segments
from sidecar.adapters.evidence.records import context
from sidecar.adapters.evidence.verify import verify_log
from sidecar.errors import Misconfigured, Unavailable
from sidecar.rules.sealing import unseal
from tests.evidence import RealClock, a_leaf, append_calls, open_log, write_calls
from tests.fakes.observer import RecordingObserver


async def test_a_new_log_is_private_and_whole(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "evidence"
    log = await write_calls(directory, 1)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {each.name for each in directory.iterdir()} == {
        "origin", "checkpoint", "checkpoint.key", "checkpoint.pub", "tenant.key", "lock", "reserve",
        "00000000000000000000.seg",
    }  # fmt: skip
    assert all(each.stat().st_mode & 0o077 == 0 for each in directory.iterdir())
    assert log.origin.startswith("acme-")
    assert "/" not in log.origin


async def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = await write_calls(tmp_path, 3)
    second = open_log(tmp_path)
    assert (second.origin, second.size, second.open_intents) == (first.origin, 6, [])
    receipt = await second.append(a_leaf())
    assert receipt.index == 6
    assert second.digest(b"x") == first.digest(b"x")
    await second.close()
    assert verify_log(tmp_path).ok


async def test_an_intent_without_outcome_is_found_on_restart(tmp_path: Path) -> None:  # E20
    log = open_log(tmp_path)
    await append_calls(log, 1)
    lost = await log.append(a_leaf(call_id="lost"))
    await log.append(a_leaf("chunk", call_id="lost", intent=lost.index))
    refused = await log.append(a_leaf(call_id="refused"))
    await log.append(a_leaf("refusal", call_id="refused", intent=refused.index))
    await log.close()
    for _ in range(2):
        log = open_log(tmp_path)
        assert log.open_intents == [lost.index]
        await log.close()
    log = open_log(tmp_path)
    await log.append(a_leaf("outcome", call_id="lost", intent=lost.index))
    await log.close()
    log = open_log(tmp_path)
    assert log.open_intents == []
    await log.close()


async def test_an_open_intent_is_not_forgotten_over_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_RECORDS", 4)
    log = open_log(tmp_path)
    lost = await log.append(a_leaf(call_id="lost"))
    await append_calls(log, 10)
    await log.close()
    log = open_log(tmp_path)
    assert log.open_intents == [lost.index]
    await log.close()


async def test_times_do_not_go_back_over_a_restart(tmp_path: Path) -> None:  # E15
    await write_calls(tmp_path, 1)
    clock, observer = RealClock(), RecordingObserver()
    clock.offset = -3_600_000_000
    log = open_log(tmp_path, clock=clock, observer=observer)
    receipt = await log.append(a_leaf())
    before, after = await log.read(1), await log.read(receipt.index)
    assert before is not None
    assert after is not None
    assert after.time == before.time
    (flagged,) = observer.named("evidence_clock_back")
    assert flagged["microseconds"] > 3_500_000_000
    await log.close()
    assert verify_log(tmp_path).ok


async def test_a_document_can_be_unsealed_with_the_tenants_key_alone(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    receipt = await log.append(a_leaf(), b'{"secret": "canary"}')
    leaf = await log.read(receipt.index)
    await log.close()
    assert leaf is not None
    assert leaf.attachment is not None
    key = keys.load_tenant_key(tmp_path, "acme")
    assert key is not None
    assert leaf.attachment.key == key.id
    segment = segments.segments(tmp_path)[0].path
    assert b"canary" not in segment.read_bytes()  # E22
    with segment.open("rb") as file:
        _, offset = segments.read_head(file.fileno(), 0)
        (record,) = segments.records(file.fileno(), offset, segment.stat().st_size, 0)
    assert record.sealed is not None
    assert unseal(key.sealing, record.sealed, context(log.origin, 0)) == b'{"secret": "canary"}'


async def test_a_digest_is_keyed_by_the_tenant(tmp_path: Path) -> None:
    log = await write_calls(tmp_path, 1)
    key = keys.load_tenant_key(tmp_path, "acme")
    assert key is not None
    assert log.digest(b"4711") == key.digest(b"4711")


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:  # E10
    log = open_log(tmp_path)
    with pytest.raises(Misconfigured, match="another process"):
        open_log(tmp_path)
    await append_calls(log, 1)
    await log.close()
    await open_log(tmp_path).close()


async def test_a_refused_start_lets_the_lock_go(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    (tmp_path / keys.SIGNING_FILE).chmod(0o644)
    for _ in range(2):
        with pytest.raises(Misconfigured, match="chmod 600"):
            open_log(tmp_path)


async def test_another_tenants_log_is_refused(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    with pytest.raises(Misconfigured, match="belongs to the tenant acme"):
        open_log(tmp_path, tenant="globex")
    with pytest.raises(Misconfigured, match="belongs to the tenant acme"):
        open_log(tmp_path, tenant="acm")


@pytest.mark.parametrize("text", [b"", b"acme", b"../acme-00112233", b"acme-0011223\xff", b"ACME-00112233"])
async def test_a_changed_name_is_refused(tmp_path: Path, text: bytes) -> None:
    await write_calls(tmp_path, 1)
    (tmp_path / "origin").write_bytes(text)
    with pytest.raises(Misconfigured, match="not a log's name"):
        open_log(tmp_path)


async def test_evidence_without_its_name_is_refused(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    (tmp_path / "origin").unlink()
    with pytest.raises(Misconfigured, match="is missing"):
        open_log(tmp_path)


async def test_a_start_that_broke_off_before_the_name_begins_anew(tmp_path: Path) -> None:
    await write_calls(tmp_path, 0)
    (tmp_path / "origin").unlink()
    segments.segments(tmp_path)[0].path.unlink()
    await write_calls(tmp_path, 1)
    assert verify_log(tmp_path).ok


async def test_a_disk_that_refuses_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(Unavailable, match="Read-only") as failure:
        open_log(tmp_path)
    assert failure.value.code == "evidence_unavailable"


async def test_a_repair_is_observed(tmp_path: Path) -> None:
    await write_calls(tmp_path, 1)
    with segments.segments(tmp_path)[0].path.open("ab") as file:
        file.write(b"torn")
    observer = RecordingObserver()
    log = open_log(tmp_path, observer=observer)
    assert observer.named("evidence_repaired") == [{"bytes": 4, "size": 2}]
    await log.close()


async def test_damage_under_a_running_log_is_said_and_not_returned(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 3)
    path = segments.segments(tmp_path)[0].path
    data = path.read_bytes()
    position = data.index(b'"index":3')
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"X", position)
    os.close(descriptor)
    with pytest.raises(Unavailable):
        await log.read(3)
    with pytest.raises(Unavailable):
        await log.recent(None, 10, None)
    before = await log.read(2)
    assert before is not None
    await log.close()


async def test_closing_twice_and_reading_after(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    await log.start()
    await log.close()
    await log.close()
    with pytest.raises(Unavailable, match="closed"):
        await log.recent(None, 1, None)


async def test_close_flushes_what_is_in_line(tmp_path: Path) -> None:  # E25
    log = open_log(tmp_path)
    waiting = [asyncio.ensure_future(log.append(a_leaf(call_id=str(number)))) for number in range(200)]
    await asyncio.sleep(0)
    await log.close()
    receipts = await asyncio.gather(*waiting)
    report = verify_log(tmp_path)
    assert report.ok
    assert report.records == report.checkpoint_size == len(receipts) == 200
