"""What is registered, in memory, and the one way to change it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import pytest

from sidecar.errors import Misconfigured, Refused
from sidecar.model.registry import Row
from sidecar.operations.registered import page
from tests.fakes.desk import SECTION, Desk


def row(id: str = "wiki", sequence: int = 1, **more: Any) -> Row:
    fields: dict[str, Any] = {
        **{"tenant": "acme", "kind": "connector", "id": id, "version": 1, "sequence": sequence, "by": "ada", "at": 1},
        "document": {"section": SECTION, "status": "ready"},
    }
    return Row(**(fields | more))


async def test_what_was_noticed_is_served_at_the_next_refresh() -> None:
    desk = Desk()
    desk.registered.noticed(row())
    assert "wiki" not in desk.stage.parts.catalogue.connectors
    await desk.registered.refresh()
    assert "wiki" in desk.stage.parts.catalogue.connectors
    desk.registered.noticed(row(sequence=2, deleted=True))
    await desk.registered.refresh()
    assert "wiki" not in desk.stage.parts.catalogue.connectors
    assert desk.registered.row("connector", "wiki") is None


async def test_an_older_row_and_another_kind_change_nothing() -> None:
    desk = Desk()
    desk.registered.noticed(row(sequence=5))
    desk.registered.noticed(row(sequence=4, deleted=True))
    desk.registered.noticed(row("tenant:acme", 6, kind="switch"))
    assert desk.registered.row("connector", "wiki") is not None
    assert [each.id for each in desk.registered.of("connector")] == ["wiki"]
    assert desk.registered.of("switch") == []


async def test_what_cannot_be_served_is_tried_again() -> None:
    desk = Desk()
    tries = []
    serve = desk.serve

    async def failing() -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise Misconfigured("a file is gone")
        return await serve()

    desk.registered._serve = failing
    desk.registered.noticed(row())
    with pytest.raises(Misconfigured):
        await desk.registered.refresh()
    assert "wiki" not in desk.stage.parts.catalogue.connectors
    await desk.registered.refresh()
    assert "wiki" in desk.stage.parts.catalogue.connectors


async def test_another_history_begins_with_nothing() -> None:
    desk = Desk()
    desk.registered.noticed(row(sequence=9))
    await desk.registered.refresh()
    desk.registered.forget()
    desk.registered.noticed(row("docs", 1))
    await desk.registered.refresh()
    assert set(desk.stage.parts.catalogue.connectors) == {"crm", "open", "docs"}


async def test_of_two_that_change_the_same_version_one_is_told_of_the_other() -> None:
    desk = Desk()
    save = desk.verbs.connectors.save
    await save("wiki", SECTION, draft=False, version=None, by="ada")
    both = [
        save("wiki", SECTION | {"labels": {"by": name}}, draft=False, version=1, by=name) for name in ("ada", "bo")
    ]
    done = await asyncio.gather(*both, return_exceptions=True)
    refused = [each for each in done if isinstance(each, Refused)]
    assert len(refused) == 1 and refused[0].code == "conflict"


async def test_what_another_sidecar_wrote_first_is_a_conflict_of_the_store() -> None:
    desk = Desk()
    await desk.verbs.connectors.save("wiki", SECTION, draft=False, version=None, by="ada")
    document = desk.store.rows["connector", "wiki"].document
    await desk.store.put("connector", "wiki", document, expected=1, by="elsewhere")
    with pytest.raises(Refused) as refused:
        await desk.verbs.connectors.save("wiki", SECTION, draft=False, version=1, by="ada")
    assert refused.value.code == "conflict"
    assert desk.changes[-1] == ("put", "connector", "wiki", "conflict")


@pytest.mark.parametrize(
    ("limit", "after", "shown", "following"),
    [
        (2, None, ["a", "b"], "b"),
        (2, "b", ["c", "d"], None),
        (4, None, ["a", "b", "c", "d"], None),
        (3, "zz", [], None),
        (1, "bb", ["c"], "c"),
    ],
)
def test_a_page(limit: int, after: str | None, shown: list[str], following: str | None) -> None:
    assert page(["c", "a", "d", "b"], str, limit, after) == (shown, following)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("connector", {}),
        ("connector", {"section": "x", "status": "ready"}),
        ("connector", {"section": {}, "status": "ready", "more": 1}),
        ("key", {"principal": "bob", "sha256": "x", "expires": None}),
        ("role", {"principal": "bob"}),
        ("principal", {"section": None}),
    ],
)
async def test_a_row_that_this_version_did_not_write_is_not_believed(kind: str, document: dict[str, Any]) -> None:
    desk = Desk()
    before = desk.stage.parts.catalogue
    desk.registered.noticed(row("x", kind=kind, document=document))
    await desk.registered.refresh()
    assert desk.stage.parts.catalogue.keys == before.keys
    assert set(desk.stage.parts.catalogue.connectors) == set(before.connectors)
    for verb in (desk.verbs.connectors, desk.verbs.principals, desk.verbs.keys):
        assert "x" not in [view.id for view in verb.listed()]


async def test_a_tenants_record_that_cannot_be_read_suspends_it() -> None:
    desk = Desk()
    await desk.store.put("tenant", "acme", {"status": "whatever"}, expected=None, by="elsewhere")
    await desk.administration.follow()
    await desk.registered.refresh()
    assert desk.stage.parts.catalogue.standing.suspended
    assert desk.verbs.tenant.shown().status == "suspended"
    assert (await desk.verbs.tenant.activate("read again", "oscar")).status == "active"


async def test_rows_are_gathered_where_others_are_noticed_and_not_in_the_thread_that_combines_them() -> None:
    class Rows(dict[Any, Row]):
        gathered: ClassVar[list[int]] = []

        def items(self) -> Any:
            self.gathered.append(threading.get_ident())
            return super().items()

    desk = Desk()
    desk.registered.rows = Rows()
    desk.registered.noticed(row())
    await desk.registered.refresh()
    await desk.verbs.connectors.save(
        "docs", SECTION | {"base_url": "https://docs.example"}, draft=False, version=None, by="ada"
    )
    assert set(Rows.gathered) == {threading.get_ident()}
