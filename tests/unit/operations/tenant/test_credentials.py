"""The credential service (M14): stored, shown, amended, rotated and deleted, with evidence of each."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from sidecar.errors import Reason, Refused, Unavailable
from sidecar.model.admin import CredentialView
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.evidence import Leaf
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import DAY
from tests.fakes.credentials import HeldStore
from tests.fakes.desk import HOUSE, Desk
from tests.fakes.parts import changed

CANARY = "c4n4ry-of-the-service"
CRM, MAIL = "encrypted://crm", "encrypted://mail"
SERVER = {"url": "https://opa.example", "token": MAIL}


async def refused(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def stored(desk: Desk, text: str = CRM, **terms: Any) -> CredentialView:
    return await desk.verbs.credentials.save(
        text, Secret(CANARY), Terms(kind="API_KEY", **terms), expected=None, asker=desk.person("ada")
    )


def records(desk: Desk) -> list[Leaf]:
    return [leaf for leaf in desk.stage.evidence.leaves if leaf.change is not None]


async def test_a_stored_credential_is_shown_with_what_needs_it() -> None:
    desk = Desk()
    made = await stored(desk, rotate_days=30)
    desk.held = [{"place": CRM, "version": "1", "seconds": 12.5}, {"place": MAIL, "version": "9", "seconds": 1.0}]
    shown = await desk.verbs.credentials.shown(CRM, desk.person("audrey"))
    assert (shown.reference, shown.kind, shown.version, shown.state) == (CRM, "API_KEY", "1", "ok")
    assert (shown.rotate_days, shown.overdue_days, shown.expired) == (30, -30.0, False)
    assert [(bound.id, bound.connectors, bound.hosts) for bound in shown.bindings] == [
        ("crm", ("crm",), ("api.example:443",))
    ]
    assert shown.used_by == ("crm",)
    assert [(kept.version, kept.seconds) for kept in shown.held] == [("1", 12.5)]
    assert made.evidence_id is not None


async def test_inv_7_each_change_is_evidence_before_it_is_made_and_before_it_is_acknowledged() -> None:
    desk = Desk()
    seen: list[str | None] = []

    def look(_: Leaf) -> None:
        seen.append(desk.vault.version("crm"))

    desk.stage.evidence.before = look
    ada, verbs = desk.person("ada"), desk.verbs.credentials
    await stored(desk)
    await verbs.rotate(CRM, Secret("another-value"), Terms(), expected="1", asker=ada)
    await verbs.amend(CRM, lambda terms: Terms(kind=terms.kind, rotate_days=7), expected="2", asker=ada)
    gone = await verbs.delete(CRM, force=True, expected="2", asker=ada)
    assert seen == [None, "1", "1", "2", "2", "2", "2", None]
    told = [(leaf.change.verb, leaf.change.id, leaf.change.of is None) for leaf in records(desk) if leaf.change]
    verbs_told = ("store", "rotate", "amend", "delete")
    assert told == [(verb, CRM, first) for verb in verbs_told for first in (True, False)]
    versions = [leaf.credential.version for leaf in records(desk) if leaf.credential]
    assert versions == [None, "1", "1", "2", "2", "2", "2", None]
    assert {(leaf.principal, leaf.surface, leaf.change.kind) for leaf in records(desk) if leaf.change} == {
        ("ada", "admin", "credential")
    }
    assert gone.evidence_id == f"{desk.stage.evidence.origin}/{records(desk)[-1].index}"


async def test_inv_5_no_record_of_a_change_has_the_value_or_a_digest_of_it() -> None:
    desk = Desk()
    await stored(desk)
    same = await desk.verbs.credentials.rotate(CRM, Secret("x" * 40), Terms(), expected="1", asker=desk.person("ada"))
    kept = repr(desk.stage.evidence.leaves) + repr(desk.stage.evidence.documents) + repr(same)
    assert CANARY not in kept and desk.stage.evidence.digest(CANARY.encode()) not in kept
    first, second = [leaf.change for leaf in records(desk) if leaf.change and leaf.change.of is None]
    assert first.after == second.before == second.after, "digests are of the terms, which stayed"


async def test_the_key_that_was_shown_is_in_the_evidence() -> None:
    desk = Desk()
    asker = desk.stage.parts.catalogue.keys["key_ada"].principal
    await desk.verbs.credentials.save(CRM, Secret(CANARY), Terms(), expected=None, asker=asker)
    assert {(leaf.principal, leaf.key) for leaf in records(desk)} == {("ada", "key_ada")}


async def test_inv_7_without_evidence_nothing_is_changed() -> None:
    desk = Desk()
    desk.stage.evidence.refuses = {"change"}
    with pytest.raises(Unavailable) as caught:
        await stored(desk)
    assert caught.value.code == "evidence_unavailable" and desk.vault.version("crm") is None


async def test_a_change_that_its_store_did_not_make_is_recorded_with_its_reason() -> None:
    desk = Desk()
    await stored(desk)

    def seal(leaf: Leaf) -> None:
        desk.vault.broken = Unavailable("store_unavailable", "It is down.", [Reason("store_sealed", "Unseal it.")])

    desk.stage.evidence.before = seal
    with pytest.raises(Unavailable):
        await desk.verbs.credentials.rotate(CRM, Secret("another"), Terms(), expected="1", asker=desk.person("ada"))
    assert [leaf.code for leaf in records(desk)] == [None, None, None, "store_unavailable"]


async def test_who_saw_another_version_changes_nothing() -> None:
    desk = Desk()
    await stored(desk)
    verbs, ada, value = desk.verbs.credentials, desk.person("ada"), Secret("another-value")
    before = len(records(desk))
    assert await refused(stored(desk)) == "conflict"
    assert await refused(verbs.save(CRM, value, Terms(), expected="7", asker=ada)) == "conflict"
    assert await refused(verbs.rotate(CRM, value, Terms(), expected="7", asker=ada)) == "conflict"
    assert await refused(verbs.amend(CRM, lambda terms: terms, expected="7", asker=ada)) == "conflict"
    assert await refused(verbs.delete(CRM, force=True, expected="7", asker=ada)) == "conflict"
    assert desk.vault.version("crm") == "1" and len(records(desk)) == before + 2, "one got as far as the store"
    assert (await verbs.rotate(CRM, value, Terms(), expected="*", asker=ada)).version == "2"


async def test_rotation_keeps_type_and_promise_but_not_the_end_of_the_old_value() -> None:
    desk = Desk()
    now = desk.stage.clock.now()
    await stored(desk, rotate_days=30, expires=now + DAY)
    verbs, ada = desk.verbs.credentials, desk.person("ada")
    fresh = await verbs.rotate(CRM, Secret("another-value"), Terms(), expected="1", asker=ada)
    assert (fresh.kind, fresh.rotate_days, fresh.expires) == ("API_KEY", 30, None)
    ending = await verbs.rotate(CRM, Secret("third-value"), Terms(expires=now + 2 * DAY), expected="2", asker=ada)
    assert ending.expires == now + 2 * DAY
    whole = await verbs.save(CRM, Secret("fourth-value"), Terms(kind="CUSTOM"), expected="3", asker=ada)
    assert (whole.kind, whole.rotate_days, whole.version) == ("CUSTOM", None, "4")


@pytest.mark.parametrize("value", ["", "abc", "x" * 65_537, "line\r\nbreak", "nul\0inside"])
async def test_a_value_that_could_not_be_used_is_refused_before_anything_is_recorded(value: str) -> None:
    desk = Desk()
    save = desk.verbs.credentials.save(CRM, Secret(value), Terms(), expected=None, asker=desk.person("ada"))
    with pytest.raises(Refused) as caught:
        await save
    assert caught.value.code == "invalid_payload" and records(desk) == []
    assert not value or value not in repr(caught.value) + caught.value.detail


@pytest.mark.parametrize("days", [0, -1])
async def test_an_end_that_has_passed_is_refused(days: int) -> None:
    desk = Desk()
    assert await refused(stored(desk, expires=desk.stage.clock.now() + days * DAY)) == "invalid_payload"


async def test_deletion_is_refused_while_a_connector_in_service_needs_it() -> None:
    desk = Desk()
    await stored(desk)
    await stored(desk, MAIL)
    verbs, ada = desk.verbs.credentials, desk.person("ada")
    assert await refused(verbs.delete(CRM, force=False, expected="1", asker=ada)) == "in_use"
    assert (await verbs.delete(MAIL, force=False, expected="1", asker=ada)).left_without == ()
    gone = await verbs.delete(CRM, force=True, expected="1", asker=ada)
    assert gone.left_without == ("crm",) and desk.vault.version("crm") is None
    assert [reason["code"] for reason in records(desk)[-1].reasons] == ["in_use"], "who insisted is on record"


async def test_a_connector_that_is_out_of_service_needs_nothing() -> None:
    section = HOUSE["connectors"]["crm"]
    connectors = {name: each for name, each in HOUSE["connectors"].items() if name != "crm"}
    desk = Desk(HOUSE | {"connectors": connectors, "sources": {}, "planes": {}})
    await stored(desk)
    await desk.verbs.connectors.save("crm", section, draft=False, version=None, by="ada")
    ada = desk.person("ada")
    assert await refused(desk.verbs.credentials.delete(CRM, force=False, expected="1", asker=ada)) == "in_use"
    await desk.verbs.connectors.disconnect("crm", by="ada")
    await desk.verbs.credentials.delete(CRM, force=False, expected="1", asker=ada)


async def test_the_list_says_what_is_configured_and_not_there() -> None:
    desk = Desk()
    assert [(view.reference, view.state) for view in await views(desk)] == [(CRM, "missing")]
    await stored(desk)
    await stored(desk, MAIL)
    assert [(view.reference, view.state, view.used_by) for view in await views(desk)] == [
        (CRM, "ok", ("crm",)),
        (MAIL, "ok", ()),
    ]


async def views(desk: Desk, name: str = "ada") -> list[CredentialView]:
    listing = await desk.verbs.credentials.listed(desk.person(name))
    assert listing.faults == []
    return listing.views


async def test_a_store_that_is_down_hides_no_other_and_is_named() -> None:
    house = changed("credentials.other", HOUSE["credentials"]["crm"] | {"reference": "vault://kv/o#f"}, HOUSE)
    desk = Desk(house)
    desk.vault.broken = Unavailable("store_unavailable", "It is down.", [Reason("store_sealed", "Unseal it.")])
    desk.stores["vault"] = HeldStore(desk.stage.clock, "vault")
    listing = await desk.verbs.credentials.listed(desk.person("ada"))
    assert [(view.reference, view.state) for view in listing.views] == [(CRM, "unknown"), ("vault://kv/o", "missing")]
    assert [(fault.store, fault.code) for fault in listing.faults] == [("encrypted", "store_unavailable")]
    assert "Unseal it." in listing.faults[0].message


async def test_a_scheme_without_a_store_is_said_and_not_passed_over() -> None:
    desk = Desk(changed("credentials.crm.reference", "vault://kv/crm#token", HOUSE))
    listing = await desk.verbs.credentials.listed(desk.person("ada"), "vault")
    assert [(view.reference, view.state) for view in listing.views] == [("vault://kv/crm", "unknown")]
    assert [fault.store for fault in listing.faults] == ["vault"]
    assert await refused(desk.verbs.credentials.shown("vault://kv/crm#token", desk.person("ada"))) == (
        "unknown_credential"
    )


async def test_a_sealed_store_that_nobody_made_is_no_fault_unless_it_is_needed_or_asked_for() -> None:
    section = HOUSE["credentials"]["crm"]
    unmade = Unavailable("store_unavailable", "It cannot be used.", [Reason("store_misconfigured", "No key.")])
    for reference, faulty in (("vault://kv/crm#token", False), ("encrypted://crm", True)):
        desk = Desk(changed("credentials.crm", section | {"reference": reference}, HOUSE))
        desk.vault.broken = unmade
        desk.stores["vault"] = HeldStore(desk.stage.clock, "vault")
        ada = desk.person("ada")
        told = [fault.store for fault in (await desk.verbs.credentials.listed(ada)).faults]
        assert told == (["encrypted"] if faulty else [])
        asked = await desk.verbs.credentials.listed(ada, "encrypted")
        assert [(fault.store, fault.reason) for fault in asked.faults] == [("encrypted", "store_misconfigured")]


@pytest.mark.parametrize(("reason", "state"), [("store_forbidden", "ok"), ("store_sealed", "unknown")])
async def test_what_may_not_be_listed_is_asked_for_by_name_unless_the_store_is_away(reason: str, state: str) -> None:
    class Unlisted(HeldStore):
        async def list(self) -> Sequence[About]:
            raise Unavailable("store_unavailable", "No list.", [Reason(reason, "No list.")])

    desk = Desk()
    desk.vault = desk.stores["encrypted"] = Unlisted(desk.stage.clock)
    await stored(desk)
    listing = await desk.verbs.credentials.listed(desk.person("ada"))
    assert [(view.reference, view.state) for view in listing.views] == [(CRM, state)]
    assert [fault.reason for fault in listing.faults] == [reason]


async def test_a_store_that_goes_away_meanwhile_is_waited_for_once() -> None:
    asked: list[Reference] = []

    class Leaving(HeldStore):
        async def about(self, reference: Reference) -> About:
            asked.append(reference)
            raise Unavailable("store_unavailable", "It is away.", [Reason("store_slow", "It is slow.")])

    section = HOUSE["credentials"]["crm"]
    desk = Desk(changed("credentials.other", section | {"reference": MAIL}, HOUSE))
    desk.stores["encrypted"] = Leaving(desk.stage.clock)
    listing = await desk.verbs.credentials.listed(desk.person("ada"))
    assert [view.state for view in listing.views] == ["unknown", "unknown"] and len(asked) == 1
    assert [fault.reason for fault in listing.faults] == ["store_slow"]


async def test_the_end_of_a_lease_is_shown_where_it_is_asked_for() -> None:
    desk = Desk()
    await stored(desk)
    desk.held = [
        {"place": CRM, "version": "lease-2b", "seconds": 1800.0},
        {"place": CRM, "version": "lease-1a", "seconds": 60.0},
    ]
    verbs, ada = desk.verbs.credentials, desk.person("ada")
    assert (await verbs.expiring(1, ada)).views == []
    [lent] = (await verbs.expiring(1, ada, leases=True)).views
    assert lent.expires == desk.stage.clock.now() + 60_000_000


async def test_one_store_is_asked_where_one_is_wanted() -> None:
    desk = Desk()
    other = desk.stores["vault"] = HeldStore(desk.stage.clock, "vault")
    other.broken = Unavailable("store_unavailable", "It is down.")
    assert (await desk.verbs.credentials.listed(desk.person("ada"), "encrypted")).faults == []


async def test_what_ends_soon_and_what_can_be_rotated() -> None:
    desk = Desk()
    now = desk.stage.clock.now()
    await stored(desk, CRM, expires=now + 3 * DAY)
    await stored(desk, MAIL, expires=now + 40 * DAY, rotate_days=1)
    desk.stage.clock.advance(4 * 86_400)
    verbs, ada = desk.verbs.credentials, desk.person("ada")
    assert [(view.reference, view.expired) for view in (await verbs.expiring(30, ada)).views] == [(CRM, True)]
    assert len((await verbs.expiring(60, ada)).views) == 2
    overdue = {view.reference: view.overdue_days for view in (await verbs.rotatable(ada)).views}
    assert overdue == {CRM: None, MAIL: 3.0}


@pytest.mark.parametrize("text", ["crm", "encrypted://UPPER", "vault://kv/crm@3#token", "hunter2-is-no-reference"])
async def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    desk = Desk()
    with pytest.raises(Refused) as caught:
        await desk.verbs.credentials.shown(text, desk.person("ada"))
    assert caught.value.code == "invalid_payload" and "hunter2" not in caught.value.detail


async def test_c06_a_reference_of_another_tenant_is_refused() -> None:
    desk = Desk()
    desk.stores["vault"] = HeldStore(desk.stage.clock, "vault", own="kv/acme/")
    ada, verbs = desk.person("ada"), desk.verbs.credentials
    theirs = "vault://kv/umbrella/crm#token"
    assert await refused(verbs.shown(theirs, ada)) == "tenant_mismatch"
    assert await refused(stored(desk, theirs)) == "tenant_mismatch"
    assert await refused(verbs.delete(theirs, force=True, expected="*", asker=ada)) == "tenant_mismatch"


@pytest.mark.parametrize(
    "house",
    [
        changed("registry", {"postgres": MAIL}, HOUSE),
        changed("policy", {"server": SERVER}, HOUSE),
    ],
    ids=["registry", "policy"],
)
async def test_inv_6_what_the_sidecar_itself_logs_in_with_is_the_operators(house: dict[str, Any]) -> None:
    desk = Desk(house)
    verbs, oscar = desk.verbs.credentials, desk.person("oscar")
    await verbs.save(MAIL, Secret(CANARY), Terms(), expected=None, asker=oscar)
    for name in ("ada", "audrey"):
        asker = desk.person(name)
        tries: list[Awaitable[Any]] = [
            verbs.shown(MAIL, asker),
            verbs.save(MAIL, Secret("mine-now"), Terms(), expected="1", asker=asker),
            verbs.rotate(MAIL, Secret("mine-now"), Terms(), expected="1", asker=asker),
            verbs.amend(MAIL, lambda terms: terms, expected="1", asker=asker),
            verbs.delete(MAIL, force=True, expected="1", asker=asker),
        ]
        assert [await refused(attempt) for attempt in tries] == ["forbidden"] * 5
        assert MAIL not in [view.reference for view in await views(desk, name)]
    assert MAIL in [view.reference for view in await views(desk, "oscar")]
    assert (await verbs.shown(MAIL, oscar)).version == "1"


async def test_a_client_of_oauth_is_known_by_its_tokens_too() -> None:
    grant = {"token_url": "https://login.example/token", "client_id": "sidecar"}
    desk = Desk(changed("credentials.crm.oauth", grant, HOUSE))
    ada, verbs = desk.person("ada"), desk.verbs.credentials
    assert [str(one) for one in verbs.used_as(CRM, ada)] == [CRM, "oauth://crm"]
    assert [str(one) for one in verbs.used_as("oauth://crm", ada)] == ["oauth://crm"]
