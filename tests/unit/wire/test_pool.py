"""Places, waiters and doubtful connections, without a socket."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.wire.pool import Pool
from tests.fakes.upstream import until

KEY = "key"
A, B = "192.0.2.1", "192.0.2.2"


class Connection:
    """Open until closed; ``fit`` as the test says."""

    def __init__(self, pool: Pool[Connection], peer: str = A) -> None:
        self.peer = peer
        self.open = True
        self.healthy = True
        self._pool = pool

    def fit(self) -> bool:
        return self.open and self.healthy

    def close(self) -> None:
        if self.open:
            self.open = False
            self._pool.gone(KEY, self)


def soon(seconds: float = 5) -> float:
    return asyncio.get_running_loop().time() + seconds


async def dialled(pool: Pool[Connection], peer: str = A) -> Connection:
    assert await pool.reserve(KEY, (peer,), soon()) is None
    return Connection(pool, peer)


async def waiting(
    pool: Pool[Connection], addresses: tuple[str, ...] = (A,), seconds: float = 5
) -> asyncio.Task[Connection | None]:
    before = pool.counts()[2]
    task = asyncio.create_task(pool.reserve(KEY, addresses, soon(seconds)))
    await until(lambda: pool.counts()[2] > before)
    return task


async def test_a_freed_connection_is_used_again_latest_first() -> None:
    pool: Pool[Connection] = Pool(2)
    first, second = await dialled(pool), await dialled(pool)
    pool.free(KEY, first)
    pool.free(KEY, second)
    assert pool.take(KEY, (A,)) is second
    assert pool.take(KEY, (A,)) is first
    assert pool.take(KEY, (A,)) is None
    assert pool.counts() == (2, 0, 0)


async def test_keys_never_share() -> None:
    pool: Pool[Connection] = Pool(1)
    pool.free(KEY, await dialled(pool))
    assert pool.take("other", (A,)) is None
    assert await pool.reserve("other", (A,), soon()) is None


async def test_only_a_connection_to_a_checked_address_is_used() -> None:
    pool: Pool[Connection] = Pool(2)
    there, elsewhere = await dialled(pool, A), await dialled(pool, B)
    pool.free(KEY, there)
    pool.free(KEY, elsewhere)
    assert pool.take(KEY, (A,)) is there
    assert pool.take(KEY, (A,)) is None
    assert elsewhere.open


async def test_one_that_rests_elsewhere_makes_room() -> None:
    pool: Pool[Connection] = Pool(1)
    elsewhere = await dialled(pool, B)
    pool.free(KEY, elsewhere)
    assert await pool.reserve(KEY, (A,), soon()) is None
    assert not elsewhere.open
    assert pool.counts() == (1, 0, 0)


async def test_a_doubtful_connection_is_closed_not_used() -> None:
    pool: Pool[Connection] = Pool(2)
    good, doubtful = await dialled(pool), await dialled(pool)
    pool.free(KEY, good)
    pool.free(KEY, doubtful)
    doubtful.healthy = False
    assert pool.take(KEY, (A,)) is good
    assert not doubtful.open
    assert pool.counts() == (1, 0, 0)


async def test_waiters_are_served_in_order() -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool)
    first, second = await waiting(pool), await waiting(pool)
    pool.free(KEY, connection)
    assert await first is connection
    assert not second.done()
    connection.close()
    assert await second is None
    assert pool.counts() == (1, 0, 0)


async def test_a_waiter_for_another_address_gets_the_place() -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool, B)
    waiter = await waiting(pool, (A,))
    pool.free(KEY, connection)
    assert await waiter is None
    assert not connection.open
    assert pool.counts() == (1, 0, 0)


async def test_a_connection_that_breaks_on_the_way_to_its_waiter_is_replaced() -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool)
    waiter = await waiting(pool)
    pool.free(KEY, connection)
    connection.healthy = False
    assert await waiter is None
    assert pool.counts() == (1, 0, 0)


async def test_waiting_ends_in_time() -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool)
    with pytest.raises(TimeoutError):
        await pool.reserve(KEY, (A,), soon(0.02))
    assert pool.counts() == (1, 0, 0)
    pool.free(KEY, connection)
    assert pool.take(KEY, (A,)) is connection


@pytest.mark.parametrize("handed", ["connection", "broken connection", "place", "nothing"])
async def test_h22_a_cancelled_waiter_loses_nothing(handed: str) -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool)
    waiter = await waiting(pool)
    if handed == "place":
        connection.close()
    elif handed != "nothing":
        pool.free(KEY, connection)
        connection.healthy = handed == "connection"
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    expected = {"connection": (1, 1, 0), "broken connection": (0, 0, 0), "place": (0, 0, 0), "nothing": (1, 0, 0)}
    assert pool.counts() == expected[handed]


async def test_a_failed_dial_gives_its_place_back() -> None:
    pool: Pool[Connection] = Pool(1)
    assert await pool.reserve(KEY, (A,), soon()) is None
    waiter = await waiting(pool)
    pool.gone(KEY)
    assert await waiter is None
    pool.gone(KEY)
    assert pool.counts() == (0, 0, 0)


async def test_a_resting_connection_that_ends_is_forgotten() -> None:
    pool: Pool[Connection] = Pool(1)
    connection = await dialled(pool)
    pool.free(KEY, connection)
    assert len(pool) == 1
    connection.close()
    assert (len(pool), pool.counts()) == (0, (0, 0, 0))
    assert pool.take(KEY, (A,)) is None


async def test_a_retired_pool_keeps_nothing() -> None:
    pool: Pool[Connection] = Pool(2)
    resting, busy = await dialled(pool), await dialled(pool)
    pool.free(KEY, resting)
    pool.retire()
    assert (resting.open, busy.open) == (False, True)
    pool.free(KEY, busy)
    assert (resting.open, busy.open) == (False, False)
    assert pool.counts() == (0, 0, 0)
