"""What a kill switch stops, and what is stopped when nobody knows whether one is set."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import Refused, Unavailable
from sidecar.model.principal import Principal
from sidecar.model.registry import ROLE, SWITCH, Row
from sidecar.pipeline.switches import Cut, Switches

ALICE = Principal(id="alice", kind="agent", tenant="acme", key="key_alice")
ADMIN = Principal(id="system:admin", kind="system", tenant="acme")


def row(id: str, *, deleted: bool = False, kind: str = SWITCH, reason: object = "it went wild") -> Row:
    document = {"reason": reason}
    return Row(
        tenant="acme", kind=kind, id=id, version=1, sequence=1, document=document, by="ada", at=7, deleted=deleted
    )


def why(cut: Cut) -> str | None:
    return cut.error.code if cut.error else None


def switches(*ids: str) -> Switches:
    made = Switches(60.0)
    made.known(1000.0)
    for id in ids:
        made.take(row(id))
    return made


@pytest.mark.parametrize("id", ["tenant:acme", "key:key_alice", "principal:alice"])
def test_a_caller_that_is_stopped_is_not_admitted(id: str) -> None:
    with pytest.raises(Refused, match="killed") as caught:
        switches(id).admit(ALICE, 1000.0)
    assert "it went wild" in caught.value.detail
    assert id.partition(":")[2] in caught.value.detail
    assert "ada" not in caught.value.detail  # who set it is for administrators


def test_a_connector_that_is_stopped_stops_its_calls_only() -> None:
    made = switches("connector:crm")
    made.admit(ALICE, 1000.0)
    made.check(ALICE, "open")
    with pytest.raises(Refused, match="killed"):
        made.check(ALICE, "crm")


@pytest.mark.parametrize(
    "id", ["tenant:umbrella", "key:alice", "key:key_bob", "principal:key_alice", "principal:crm", "connector:alice"]
)
def test_what_is_not_meant_goes_on(id: str) -> None:
    made = switches(id)
    made.admit(ALICE, 1000.0)
    made.check(ALICE, "crm")


def test_a_caller_without_a_key_is_stopped_by_the_others() -> None:
    made = switches("key:key_alice")
    made.admit(ADMIN, 1000.0)
    made.take(row("principal:system:admin"))
    with pytest.raises(Refused, match="killed"):
        made.admit(ADMIN, 1000.0)


def test_a_switch_that_is_cleared_stops_nothing() -> None:
    made = switches("principal:alice", "tenant:acme")
    made.take(row("tenant:acme", deleted=True))
    assert made.names == ("principal:alice",)
    made.take(row("principal:alice", deleted=True))
    made.admit(ALICE, 1000.0)
    assert not made.listed()


def test_other_rows_are_not_switches() -> None:
    made = switches()
    made.take(row("principal:alice", kind=ROLE))
    made.take(row("integration:openai"))  # a target of a later version
    assert made.names == ()


def test_a_switch_whose_reason_cannot_be_read_is_set_all_the_same() -> None:
    made = switches()
    made.take(row("principal:alice", reason=["?"]))
    with pytest.raises(Refused, match="no reason was given"):
        made.admit(ALICE, 1000.0)


def test_people_and_policy_see_them_in_order() -> None:
    made = switches("principal:bob", "connector:crm", "principal:alice")
    assert made.names == ("connector:crm", "principal:alice", "principal:bob")
    assert [(each.target, each.id, each.by, each.at) for each in made.listed()] == [
        ("principal", "alice", "ada", 7),
        ("principal", "bob", "ada", 7),
        ("connector", "crm", "ada", 7),
    ]


def test_nobody_is_admitted_before_the_switches_are_known() -> None:
    made = Switches(60.0)
    assert made.is_stale(1000.0)
    with pytest.raises(Unavailable, match="registry_unavailable"):
        made.admit(ALICE, 1000.0)


def test_what_is_known_holds_for_its_time_and_no_longer() -> None:
    made = switches()
    made.admit(ALICE, 1060.0)
    assert made.age(1060.0) == 60.0
    with pytest.raises(Unavailable, match="registry_unavailable"):
        made.admit(ALICE, 1060.1)
    made.known(1060.2)
    made.admit(ALICE, 1060.3)


def test_another_history_begins_with_nothing_set() -> None:
    made = switches("tenant:acme")
    made.forget()
    made.admit(ALICE, 1000.0)
    assert made.listed() == []


async def test_an_open_stream_is_cut_where_it_waits() -> None:
    made = switches()
    cut, other = made.open(ALICE, "crm"), made.open(ALICE, "open")
    cut.task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    made.take(row("connector:crm"))
    with pytest.raises(asyncio.CancelledError):
        await cut.task
    assert isinstance(cut.error, Refused)
    assert other.error is None
    with pytest.raises(Refused, match="killed"):
        made.open(ALICE, "crm")


async def test_a_stream_that_has_ended_is_left_alone() -> None:
    made = switches()
    cut = made.open(ALICE, "crm")
    made.close(cut)
    made.take(row("tenant:acme"))
    assert cut.error is None


def test_open_streams_end_when_what_is_known_is_too_old() -> None:
    made = switches()
    cut = made.open(ALICE, "crm")
    made.unknown(1060.0)
    assert why(cut) is None
    made.unknown(1060.1)
    assert why(cut) == "registry_unavailable"
    made.take(row("tenant:acme"))
    assert why(cut) == "registry_unavailable"  # the first reason stays
