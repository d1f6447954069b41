"""A change of the registry has its evidence before it is made and before it is acknowledged."""

from __future__ import annotations

from itertools import count

import pytest

from sidecar.errors import Refused, Unavailable
from sidecar.model.evidence import Leaf, Receipt
from sidecar.model.registry import ROLE, Row
from sidecar.operations.changes import Changes
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.registry import FakeRegistryStore


class _Evidence(MemoryEvidence):
    """Remembers how many rows there were at each record; ``left`` records are taken, then none."""

    def __init__(self, store: FakeRegistryStore) -> None:
        super().__init__()
        self._store = store
        self.rows: list[int] = []
        self.left = 100

    async def append(self, leaf: Leaf, document: bytes | None = None) -> Receipt:
        self.left -= 1
        self.available = self.left >= 0
        self.rows.append(len(self._store.rows))
        return await super().append(leaf, document)


class Desk:
    def __init__(self) -> None:
        self.store = FakeRegistryStore()
        self.evidence = _Evidence(self.store)
        self.noticed: list[Row] = []
        numbers = count()
        self.changes = Changes(self.store, self.evidence, "acme", lambda: f"c-{next(numbers)}", self.noticed.append)


async def test_inv_7_a_change_is_durable_evidence_before_it_is_written() -> None:
    desk = Desk()
    made = await desk.changes.put(ROLE, "reader", {"of": "alice"}, before=None, by="ada")
    assert desk.evidence.rows == [0, 1]
    first, second = desk.evidence.leaves
    assert made.evidence_id == f"{desk.evidence.origin}/{second.index}"
    assert (first.kind, first.principal, first.surface, first.tenant) == ("change", "ada", "admin", "acme")
    assert first.call_id == second.call_id
    assert first.change is not None and second.change is not None
    assert (first.change.of, second.change.of) == (None, first.index)
    assert (first.change.version, second.change.version) == (None, 1)
    assert (first.change.before, first.change.verb) == (None, "put")
    assert desk.noticed == [made.row]


async def test_a_change_shows_what_it_replaced_and_a_removal_what_it_took() -> None:
    desk = Desk()
    made = await desk.changes.put(ROLE, "reader", {"of": "alice"}, before=None, by="ada")
    other = await desk.changes.put(ROLE, "reader", {"of": "bob"}, before=made.row, by="ada")
    await desk.changes.remove(other.row, by="eve")
    changes = [leaf.change for leaf in desk.evidence.leaves if leaf.change]
    assert changes[2].before == changes[0].after
    assert changes[2].after not in (None, changes[0].after)
    assert (changes[4].verb, changes[4].before, changes[4].after) == ("remove", changes[2].after, None)
    assert changes[5].version == 3
    assert [row.deleted for row in desk.noticed] == [False, False, True]


async def test_inv_7_nothing_is_written_where_evidence_is_not_durable() -> None:
    desk = Desk()
    desk.evidence.left = 0
    with pytest.raises(Unavailable, match="evidence_unavailable"):
        await desk.changes.put(ROLE, "reader", {}, before=None, by="ada")
    assert not desk.store.rows
    assert not desk.noticed


async def test_a_change_that_was_not_made_is_recorded_as_such() -> None:
    desk = Desk()
    await desk.changes.put(ROLE, "reader", {}, before=None, by="ada")
    with pytest.raises(Refused, match="conflict"):
        await desk.changes.put(ROLE, "reader", {}, before=None, by="eve")
    desk.store.available = False
    with pytest.raises(Unavailable, match="registry_unavailable"):
        await desk.changes.put(ROLE, "writer", {}, before=None, by="eve")
    assert [leaf.code for leaf in desk.evidence.leaves] == [
        None,
        None,
        None,
        "conflict",
        None,
        "registry_unavailable",
    ]
    assert [leaf.change.of for leaf in desk.evidence.leaves if leaf.change] == [None, 0, None, 2, None, 4]
    assert len(desk.noticed) == 1


async def test_a_change_whose_end_cannot_be_recorded_is_not_acknowledged_and_says_that_it_was_made() -> None:
    desk = Desk()
    desk.evidence.left = 1
    with pytest.raises(Unavailable, match=r"evidence_unavailable: The change was made"):
        await desk.changes.put(ROLE, "reader", {}, before=None, by="ada")
    assert len(desk.noticed) == 1  # it is in force
