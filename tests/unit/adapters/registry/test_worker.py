"""Work that blocks never blocks the loop, and never makes a caller wait longer than it said."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sidecar.adapters.registry import worker
from sidecar.adapters.registry.worker import Worker
from sidecar.errors import Refused, Unavailable


def none() -> None:
    return None


async def test_work_is_done_one_after_the_other_on_one_thread_that_holds_no_exit() -> None:
    one = Worker("w", 5.0)
    threads = await asyncio.gather(*(one.run(threading.current_thread) for _ in range(20)))
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert threads[0] is not threading.current_thread()
    await one.close(none)
    threads[0].join(5.0)
    assert not threads[0].is_alive()


async def test_what_work_raises_is_raised() -> None:
    def fail() -> None:
        raise Refused("conflict", "no")

    one = Worker("w", 5.0)
    with pytest.raises(Refused, match="conflict"):
        await one.run(fail)
    assert await one.run(lambda: 7) == 7
    await one.close(none)


async def test_a_caller_waits_no_longer_than_it_said_and_waiting_work_is_left_out() -> None:
    one, gate, done = Worker("w", 0.05), threading.Event(), list[str]()
    try:
        first = asyncio.create_task(one.run(lambda: done.append("first") if gate.wait(30) else None))
        await asyncio.sleep(0)
        second = asyncio.create_task(one.run(lambda: done.append("second")))
        for task in (first, second):
            with pytest.raises(Unavailable, match="registry_unavailable"):
                await task
    finally:
        gate.set()
    assert await one.run(lambda: list(done)) == ["first"]  # what had begun went on to its end
    await one.close(none)


async def test_more_work_than_can_wait_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_WAITING", 2)
    one, gate, begun = Worker("w", 30.0), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(30)

    tasks = [asyncio.create_task(one.run(hold))]
    try:
        assert await asyncio.to_thread(begun.wait, 30)
        tasks += [asyncio.create_task(one.run(none)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="busy"):
            await one.run(none)
    finally:
        gate.set()
    await asyncio.gather(*tasks)
    await one.close(none)


async def test_closing_does_the_last_thing_and_then_nothing_more() -> None:
    one, done = Worker("w", 5.0), list[str]()
    await one.run(none)
    await one.close(lambda: done.append("last"))
    assert done == ["last"]
    with pytest.raises(Unavailable, match="closed"):
        await one.run(none)
    await Worker("unused", 5.0).close(lambda: done.append("never"))
    assert done == ["last"]
