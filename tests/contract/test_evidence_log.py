"""What every evidence log does, the fake included."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from msgspec.structs import replace

from sidecar.errors import Unavailable
from sidecar.model.evidence import Change
from sidecar.ports import EvidenceLog, EvidenceReader
from tests.evidence import a_leaf, open_log
from tests.fakes.evidence import MemoryEvidence


class Log(EvidenceLog, EvidenceReader, Protocol):
    async def close(self) -> None: ...


@pytest.fixture(params=["segments", "memory"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    made: Log = open_log(tmp_path) if request.param == "segments" else MemoryEvidence()
    yield made
    await made.close()


async def test_indices_follow_one_another_and_name_the_log(log: Log) -> None:
    receipts = await asyncio.gather(*[log.append(a_leaf(call_id=str(number))) for number in range(100)])
    assert [each.index for each in receipts] == list(range(100))
    assert receipts[7].id == f"{log.origin}/7"


async def test_what_was_appended_is_read_back_with_its_place(log: Log) -> None:
    receipt = await log.append(a_leaf("refusal", code="denied", reasons=({"code": "x", "message": "ü\n"},)), b"{}")
    leaf = await log.read(receipt.index)
    assert leaf is not None
    assert (leaf.origin, leaf.index, leaf.code) == (log.origin, receipt.index, "denied")
    assert leaf.reasons == ({"code": "x", "message": "ü\n"},)
    assert leaf.time > 0


async def test_a_change_of_the_registry_is_a_record_like_any_other(log: Log) -> None:
    change = Change(kind="switch", id="connector:crm", verb="put", before="aa", after="bb")
    first = await log.append(a_leaf("change", principal="system:admin", change=change))
    await log.append(a_leaf("change", principal="system:admin", change=replace(change, version=3, of=first.index)))
    newest, older = (await log.recent("system:admin", 2, None))[0]
    assert older.change == change
    assert newest.change == Change(
        kind="switch", id="connector:crm", verb="put", version=3, before="aa", after="bb", of=first.index
    )


async def test_there_is_no_record_outside_the_log(log: Log) -> None:
    await log.append(a_leaf())
    assert await log.read(1) is None
    assert await log.read(-1) is None


async def test_times_never_go_back(log: Log) -> None:
    for _ in range(20):
        await log.append(a_leaf())
    times = [leaf.time for leaf in (await log.recent(None, 50, None))[0]]
    assert times == sorted(times, reverse=True)


async def test_recent_is_newest_first_and_a_principals_own(log: Log) -> None:
    for number in range(10):
        await log.append(a_leaf(principal=f"agent-{number % 2}"))
    own, more = await log.recent("agent-1", 50, None)
    assert [leaf.index for leaf in own] == [9, 7, 5, 3, 1]
    assert more is None
    everything, _ = await log.recent(None, 50, None)
    assert [leaf.index for leaf in everything] == list(range(9, -1, -1))


async def test_pages_of_recent_join_without_gap_or_overlap(log: Log) -> None:
    for number in range(25):
        await log.append(a_leaf(principal=f"agent-{number % 3}"))
    seen: list[int] = []
    before: int | None = None
    while True:
        page, before = await log.recent("agent-0", 4, before)
        assert len(page) <= 4
        seen += [leaf.index for leaf in page]
        if before is None:
            break
    assert seen == [24, 21, 18, 15, 12, 9, 6, 3, 0]


async def test_a_name_inside_another_field_is_not_a_principal(log: Log) -> None:
    await log.append(a_leaf(principal="other", obligations={"principal": "agent-1"}))
    assert await log.recent("agent-1", 10, None) == ([], None)


async def test_a_digest_is_stable_and_keyed(log: Log) -> None:
    assert log.digest(b"4711") == log.digest(b"4711")
    assert log.digest(b"4711") != log.digest(b"4712")
    assert len(bytes.fromhex(log.digest(b""))) == 32


async def test_an_unknown_kind_of_leaf_is_an_error(log: Log) -> None:
    with pytest.raises(ValueError, match="no such kind"):
        await log.append(a_leaf("rumour"))


async def test_a_closed_log_takes_nothing_and_says_so(log: Log) -> None:
    assert log.writable()
    await log.close()
    assert not log.writable()
    with pytest.raises(Unavailable) as failure:
        await log.append(a_leaf())
    assert failure.value.code == "evidence_unavailable"


async def test_inv_7_who_is_stopped_while_an_intent_is_stored_learns_its_place_first(log: Log) -> None:
    """Without the place nobody could record the outcome that the intent is owed."""

    async def call() -> tuple[int, int]:
        receipt = await log.append(a_leaf("intent"))
        task = asyncio.current_task()
        assert task is not None
        return receipt.index, task.cancelling()

    task = asyncio.create_task(call())
    asyncio.get_running_loop().call_soon(task.cancel)  # once it waits, where it waits at all
    assert await task == (0, 0 if isinstance(log, MemoryEvidence) else 1)


async def test_who_is_stopped_while_another_record_is_stored_leaves_it_in_line(log: Log) -> None:
    task = asyncio.create_task(log.append(a_leaf("refusal", code="denied")))
    asyncio.get_running_loop().call_soon(task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (await log.append(a_leaf())).index == 1
