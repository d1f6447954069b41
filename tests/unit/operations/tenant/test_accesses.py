"""The access log: who used or changed which credential when, for which call, and what came of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.errors import Unavailable
from sidecar.model.admin import Access
from sidecar.model.credential import Reference, Terms
from sidecar.model.evidence import CredentialUse, Leaf
from sidecar.model.secret import Secret
from sidecar.operations.tenant import accesses
from sidecar.operations.tenant.accesses import AccessLog, Wanted
from tests.fakes.answers import Pieces, answered
from tests.fakes.caller import Reply
from tests.fakes.desk import HOUSE, Desk
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.parts import Stage, changed, set_stage

CRM = (Reference("encrypted", "crm"),)
ALL = Wanted()


async def log(desk: Desk, wanted: Wanted = ALL, limit: int = 100) -> list[Access]:
    found, following = await desk.verbs.accesses.recent(wanted, limit, None)
    assert following is None or len(found) == limit
    return found


def desk_of(*script: Any, **more: Any) -> Desk:
    stage: Stage = set_stage(HOUSE, *script, **more)
    return Desk(stage=stage)


async def test_each_use_says_who_what_where_and_what_came_of_it() -> None:
    desk = desk_of()
    done = await desk.stage.handle("alice", id="c-one")
    await desk.stage.handle("bob", connector="open", operation="get", parameters={"id": "7"})
    [use] = await log(desk)
    assert use.evidence_id == done.evidence_id
    assert (use.verb, use.reference, use.version, use.principal) == ("use", "encrypted://crm", "1", "alice")
    assert (use.connector, use.operation, use.call_id, use.surface) == ("crm", "get", "c-one", "access")
    assert (use.code, use.status, use.reasons) == ("allowed", 200, ())
    assert use.at == desk.stage.evidence.leaves[1].time


async def test_the_key_that_was_shown_is_named() -> None:
    desk = desk_of()
    await desk.stage.handle("alice")
    leaves = desk.stage.evidence.leaves
    leaves[-1] = replace(leaves[-1], key="key_alice")
    assert [use.key_id for use in await log(desk)] == ["key_alice"]


async def test_a_credential_that_did_not_resolve_is_an_access_without_a_version() -> None:
    desk = desk_of()
    desk.stage.credentials.delete("crm")
    await desk.stage.handle()
    [use] = await log(desk, Wanted(references=CRM))
    assert (use.code, use.version, use.reference) == ("credential_unavailable", None, "encrypted://crm")


async def test_a_credential_that_has_expired_is_an_access_with_its_version_and_reason() -> None:
    desk = desk_of()
    desk.stage.parts.credentials = {"encrypted": desk.vault}
    ada = desk.person("ada")
    end = desk.stage.clock.now() + 1_000_000
    await desk.verbs.credentials.save(
        "encrypted://crm", Secret("c4n4ry-value"), Terms(expires=end), expected=None, asker=ada
    )
    desk.stage.clock.advance(2)
    await desk.stage.handle()
    use = (await log(desk))[0]
    assert (use.code, use.version, use.reasons) == ("credential_unavailable", "1", ("credential_expired",))


async def test_misuse_before_the_intent_is_an_access() -> None:
    house = changed("credentials.crm.positions", ["query"], HOUSE)
    desk = Desk(house, set_stage(house))
    await desk.stage.handle()
    [use] = await log(desk, Wanted(connector="crm"))
    assert (use.code, use.principal, use.reasons) == ("credential_misused", "alice", ("position_refused",))


async def test_a_denied_call_used_nothing() -> None:
    desk = desk_of(rule=lambda _: b'{"allow": false}')
    await desk.stage.handle()
    assert await log(desk) == []


async def test_an_upstream_that_failed_was_sent_the_credential() -> None:
    desk = desk_of(Reply(silent=True))
    await desk.stage.handle(operation="add", parameters={"item": 1}, connector="crm")
    assert [(use.code, use.version) for use in await log(desk)] == [("upstream_timeout", "1")]


async def test_a_stream_is_one_access_when_it_has_ended() -> None:
    desk = desk_of(answered(Pieces(b"one ", b"two"), 200, [(b"content-type", b"text/plain")]))
    outcome = await desk.stage.handle(operation="watch", connector="crm", parameters={})
    assert not isinstance(outcome.body, bytes)
    assert await log(desk) == []
    assert b"".join([piece async for piece in outcome.body]) == b"one two"
    assert [(use.code, use.version, use.operation) for use in await log(desk)] == [("allowed", "1", "watch")]


async def test_changes_stand_in_the_same_history_newest_first() -> None:
    desk = desk_of(answered(), answered())
    await desk.stage.handle()
    save = desk.verbs.credentials.save
    ada = desk.stage.parts.catalogue.keys["key_ada"].principal
    await save("encrypted://crm", Secret("c4n4ry-value"), Terms(), expected=None, asker=ada)
    await desk.stage.handle()
    found = await log(desk, Wanted(references=CRM))
    assert [(one.verb, one.principal, one.code) for one in found] == [
        ("use", "alice", "allowed"),
        ("store", "ada", "done"),
        ("use", "alice", "allowed"),
    ]
    assert found[1].key_id == "key_ada"


async def test_a_change_that_failed_says_why() -> None:
    desk = desk_of()
    for _ in range(2):
        try:
            await desk.verbs.credentials.save(
                "encrypted://crm", Secret("c4n4ry-value"), Terms(), expected=None, asker=desk.person("ada")
            )
        except Exception as error:
            assert getattr(error, "code", None) == "conflict"
    assert [one.code for one in await log(desk)] == ["conflict", "done"]


async def test_e20_an_intent_that_an_ended_process_left_is_unknown() -> None:
    desk = desk_of()
    await desk.stage.handle()
    leaves = desk.stage.evidence.leaves
    del leaves[-1]
    assert await log(desk) == []
    desk.unknown = [0]
    [use] = await log(desk)
    assert (use.code, use.reference, use.version, use.principal) == ("unknown", "encrypted://crm", None, "alice")


def leaf(index: int, ref: str, **more: Any) -> Leaf:
    defaults: dict[str, Any] = {
        **{"v": 1, "kind": "outcome", "origin": "acme-00000000", "index": index, "call_id": f"c-{index}"},
        **{"time": index * 1_000_000, "tenant": "acme", "principal": "alice", "surface": "access", "intent": 0},
        **{"credential": CredentialUse(ref=ref, version=str(index)), "connector": "crm"},
    }
    return Leaf(**(defaults | more))


def over(*leaves: Leaf) -> AccessLog:
    evidence = MemoryEvidence()
    evidence.leaves = list(leaves)
    return AccessLog(evidence, "acme", list)


TOKEN = "vault://kv/crm@3#token"
REFS = ("encrypted://crm", TOKEN, "vault://kv/crm#user", "vault://kv/crm2#token", "oauth://crm")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (Reference("encrypted", "crm"), {0}),
        (Reference("vault", "kv/crm", "token"), {1}),
        (Reference("vault", "kv/crm"), {1, 2}),
        (Reference("oauth", "crm"), {4}),
        (Reference("aws", "kv/crm"), set()),
    ],
)
async def test_a_credential_is_found_whatever_version_was_asked_for(reference: Reference, found: set[int]) -> None:
    made = over(*(leaf(index, ref) for index, ref in enumerate(REFS)))
    shown, _ = await made.recent(Wanted(references=(reference,)), 10, None)
    assert {int(use.call_id[2:]) for use in shown} == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(principal="bob"), [3]),
        (Wanted(connector="wiki"), [1]),
        (Wanted(version="2"), [2]),
        (Wanted(since=2_000_000), [3, 2]),
        (Wanted(since=2_000_001, principal="alice"), []),
        (Wanted(references=(Reference("encrypted", "crm"),), version="0"), [0]),
    ],
)
async def test_filters_hold_together(wanted: Wanted, found: list[int]) -> None:
    ref = "encrypted://crm"
    made = over(leaf(0, ref), leaf(1, ref, connector="wiki"), leaf(2, ref), leaf(3, ref, principal="bob"))
    shown, _ = await made.recent(wanted, 10, None)
    assert [int(use.call_id[2:]) for use in shown] == found


async def test_a_clock_that_was_put_back_hides_nothing() -> None:
    """Record 1 came first and has a later time than record 2, as after a step of the clock."""
    ref = "encrypted://crm"
    made = over(
        leaf(0, ref), leaf(1, ref, time=9_000_000), leaf(2, ref, time=3_000_000), leaf(3, ref, time=8_000_000)
    )
    shown, _ = await made.recent(Wanted(since=5_000_000), 10, None)
    assert [int(use.call_id[2:]) for use in shown] == [3, 1]


async def test_what_is_long_past_is_not_looked_at() -> None:
    ref = "encrypted://crm"
    made = over(leaf(0, ref, time=7_200_000_000), leaf(1, ref, time=1), leaf(2, ref, time=7_200_000_000))
    shown, following = await made.recent(Wanted(since=7_200_000_000), 10, None)
    assert ([use.call_id for use in shown], following) == (["c-2"], None)


async def test_inv_4_records_of_another_tenant_are_not_shown() -> None:
    made = over(leaf(0, "encrypted://crm", tenant="umbrella"))
    assert await made.recent(ALL, 10, None) == ([], None)


async def test_pages_meet_without_a_gap_or_a_repetition() -> None:
    made = over(*(leaf(index, "encrypted://crm") for index in range(7)))
    seen, before = [], None
    for _ in range(4):
        shown, before = await made.recent(ALL, 2, before)
        seen += [use.call_id for use in shown]
        if before is None:
            break
    assert seen == [f"c-{index}" for index in range(6, -1, -1)] and before is None


async def test_a_page_looks_at_a_bounded_part_of_the_log_and_says_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accesses, "SCANNED", 2_000)
    quiet = [leaf(index, "encrypted://crm", credential=None) for index in range(1, 3_001)]
    made = over(leaf(0, "encrypted://crm"), *quiet)
    assert await made.recent(ALL, 10, None) == ([], 1_001)
    shown, following = await made.recent(ALL, 10, 1_001)
    assert (len(shown), following) == (1, None)


async def test_a_log_that_cannot_be_read_is_said() -> None:
    class Broken(MemoryEvidence):
        async def recent(
            self, principal: str | None, limit: int, before: int | None
        ) -> tuple[list[Leaf], int | None]:
            raise Unavailable("evidence_unavailable", "Record 7 cannot be read.")

    with pytest.raises(Unavailable):
        await AccessLog(Broken(), "acme", list).recent(ALL, 10, None)
