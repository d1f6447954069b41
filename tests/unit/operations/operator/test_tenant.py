"""The tenant's record (M26): a suspended tenant is denied everywhere."""

from __future__ import annotations

from tests.fakes.desk import Desk
from tests.fakes.parts import code


async def test_a_tenant_is_active_until_it_is_suspended_and_again_after() -> None:
    desk = Desk()
    record = desk.verbs.tenant
    assert (record.shown().status, record.shown().version) == ("active", None)
    assert (await desk.stage.handle()).problem is None
    view = await record.suspend("unpaid", "oscar")
    assert (view.status, view.reason, view.by, view.version) == ("suspended", "unpaid", "oscar", 1)
    assert code(await desk.stage.handle()) == "tenant_suspended"
    assert (await record.activate("paid", "oscar")).version == 2
    assert (await desk.stage.handle()).problem is None
    assert desk.changes == [("put", "tenant", "acme", None)] * 2


async def test_a_suspension_that_was_registered_holds_from_the_start() -> None:
    first = Desk()
    await first.verbs.tenant.suspend("unpaid", "oscar")
    second = Desk()
    for row in first.store.rows.values():
        second.registered.noticed(row)
    await second.registered.refresh()
    assert code(await second.stage.handle()) == "tenant_suspended"
