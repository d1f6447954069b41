"""What is in memory follows the registry, whatever becomes of the registry."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.errors import Unavailable
from sidecar.model.registry import ROLE, Row
from sidecar.operations import following
from sidecar.operations.following import Follower
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver
from tests.fakes.registry import FakeRegistryStore


class Memory:
    """A ``Taker``: the rows that are there, and what it was told."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.taken: list[Row] = []
        self.known_at: list[float] = []
        self.unknown_at: list[float] = []
        self.forgot = 0

    def take(self, row: Row) -> None:
        self.taken.append(row)
        if row.deleted:
            self.rows.pop(row.id, None)
        else:
            self.rows[row.id] = row

    def forget(self) -> None:
        self.rows.clear()
        self.forgot += 1

    def known(self, at: float) -> None:
        self.known_at.append(at)

    def unknown(self, now: float) -> None:
        self.unknown_at.append(now)


class Scene:
    def __init__(self) -> None:
        self.clock = HeldClock()
        self.store = FakeRegistryStore(clock=self.clock)
        self.memory = Memory()
        self.observer = RecordingObserver()
        self.follower = Follower(self.store, self.clock, self.observer, self.memory)

    async def put(self, id: str, expected: int | None = None, **document: Any) -> Row:
        return await self.store.put(ROLE, id, document, expected=expected, by="ada")

    async def look(self) -> set[str]:
        await self.follower.look()
        return set(self.memory.rows)


async def test_what_is_known_is_as_old_as_the_beginning_of_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch that is set while a slow registry answers may not be in its answer."""
    scene = Scene()
    began, answer = scene.clock.monotonic(), scene.store.changes

    async def slow(after: int, limit: int) -> list[Row]:
        rows = await answer(after, limit)
        scene.clock.advance(3.0)
        return rows

    monkeypatch.setattr(scene.store, "changes", slow)
    await scene.look()
    assert scene.memory.known_at == [began]


async def test_what_is_there_and_what_changes_is_taken() -> None:
    scene = Scene()
    assert await scene.look() == set()
    await scene.put("a")
    await scene.put("b")
    assert await scene.look() == {"a", "b"}
    await scene.put("a", 1, n=2)
    await scene.store.remove(ROLE, "b", expected=1, by="ada")
    assert await scene.look() == {"a"}
    assert scene.memory.rows["a"].document == {"n": 2}
    assert len(scene.memory.taken) == 4
    assert await scene.look() == {"a"}
    assert len(scene.memory.taken) == 4  # what has not changed is not taken again
    assert scene.memory.forgot == 0


async def test_what_is_known_is_as_old_as_the_question_not_as_its_answer() -> None:
    scene = Scene()
    await scene.look()
    scene.clock.advance(5)
    await scene.look()
    assert scene.memory.known_at == [1000.0, 1005.0]


async def test_many_rows_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAGE", 3)
    scene = Scene()
    for number in range(11):
        await scene.put(f"r{number}")
    assert len(await scene.look()) == 11
    assert len(scene.memory.taken) == 11


async def test_a_registry_that_cannot_be_read_is_told_and_what_is_known_stays() -> None:
    scene = Scene()
    await scene.put("a")
    await scene.look()
    scene.store.available = False
    scene.clock.advance(1)
    with pytest.raises(Unavailable, match="registry_unavailable"):
        await scene.look()
    assert set(scene.memory.rows) == {"a"}
    assert scene.memory.unknown_at == [1001.0]
    assert len(scene.memory.known_at) == 1
    scene.store.available = True
    await scene.put("b")
    assert await scene.look() == {"a", "b"}
    assert len(scene.memory.known_at) == 2


async def test_a_fault_that_nobody_foresaw_is_a_registry_that_was_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr(scene.store, "changes", None)
    with pytest.raises(TypeError):
        await scene.look()
    assert (scene.memory.known_at, scene.memory.unknown_at) == ([], [1000.0])


async def test_what_this_process_wrote_is_in_force_before_the_next_look() -> None:
    scene = Scene()
    row = await scene.put("a")
    scene.follower.notice(row)
    assert set(scene.memory.rows) == {"a"}
    await scene.look()
    assert scene.memory.taken == [row]


async def test_an_older_row_never_replaces_a_newer_one() -> None:
    scene = Scene()
    old = await scene.put("a")
    new = await scene.store.remove(ROLE, "a", expected=1, by="ada")
    scene.follower.notice(new)
    scene.follower.notice(old)  # an answer that was under way
    assert scene.memory.rows == {}


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_store_that_was_put_back_is_read_from_its_beginning(left: int) -> None:
    scene = Scene()
    for id in ("a", "b", "c"):
        await scene.put(id)
    await scene.look()
    scene.store.rows = dict(list(scene.store.rows.items())[:left])
    assert await scene.look() == set("abc"[:left])
    assert scene.memory.forgot == 1
    assert scene.observer.named("registry_restored") == [{"rows": left}]
    await scene.put("z")
    assert await scene.look() == {*"abc"[:left], "z"}
    assert scene.memory.forgot == 1


async def test_what_this_process_wrote_and_the_store_lost_is_not_known_any_more() -> None:
    scene = Scene()
    await scene.put("a")
    await scene.look()
    scene.follower.notice(await scene.put("b"))
    del scene.store.rows[ROLE, "b"]  # before it was read back
    assert await scene.look() == {"a"}
    assert scene.memory.forgot == 1


async def test_another_row_where_the_last_one_was_is_another_history() -> None:
    scene = Scene()
    last = await scene.put("a")
    await scene.look()
    scene.store.rows = {(ROLE, "b"): replace(last, id="b")}
    assert await scene.look() == {"b"}
    assert scene.memory.forgot == 1
