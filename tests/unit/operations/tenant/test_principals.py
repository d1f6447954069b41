"""Principals and roles (M26); and that nobody makes themselves an operator (INV-6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused
from tests.fakes.desk import Desk

PERSON = {"kind": "person", "roles": ["auditor"], "labels": {"team": "risk"}}


async def refused(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def test_a_registered_principal_is_one_like_any_other() -> None:
    desk = Desk()
    view = await desk.verbs.principals.save("carol", PERSON, version=None, asker=desk.person("ada"))
    assert (view.kind, view.roles, view.labels, view.tenant) == ("person", ("auditor",), {"team": "risk"}, "acme")
    assert desk.person("carol").roles == ("auditor",)
    listed = {each.id: each.declared for each in desk.verbs.principals.listed()}
    assert listed["carol"] is False and listed["alice"] is True


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "system"},
        {"tenant": "umbrella"},
        {"keys": [{"id": "k", "sha256": "ab" * 32}]},
        {"kind": "robot"},
        {"roles": "auditor"},
    ],
)
async def test_inv_4_what_only_the_file_may_say_is_refused(section: dict[str, Any]) -> None:
    desk = Desk()
    save = desk.verbs.principals.save("carol", section, version=None, asker=desk.person("oscar"))
    assert await refused(save) == "invalid_payload"


async def test_a_role_is_granted_and_revoked() -> None:
    desk = Desk()
    ada = desk.person("ada")
    view = await desk.verbs.principals.grant("bob", "writer", ada)
    assert (view.principal, view.role, view.declared, view.by) == ("bob", "writer", False, "ada")
    assert desk.person("bob").roles == ("writer",)
    assert (await desk.verbs.principals.grant("bob", "writer", ada)).role == "writer"
    assert len(desk.changes) == 1, "granting again changes nothing"
    assert [(each.principal, each.role) for each in desk.verbs.principals.roles("bob")] == [("bob", "writer")]
    await desk.verbs.principals.revoke("bob", "writer", ada)
    assert desk.person("bob").roles == ()
    assert await refused(desk.verbs.principals.revoke("bob", "writer", ada)) == "unknown_role"


async def test_a_declared_role_is_not_a_grant() -> None:
    desk = Desk()
    assert await refused(desk.verbs.principals.revoke("alice", "reader", desk.person("ada"))) == "declared"
    await desk.verbs.principals.save("carol", PERSON, version=None, asker=desk.person("ada"))
    assert await refused(desk.verbs.principals.revoke("carol", "auditor", desk.person("ada"))) == "declared"
    assert await refused(desk.verbs.principals.grant("nobody-here", "x", desk.person("ada"))) == "unknown_principal"


async def test_a_role_that_no_file_could_have_is_refused() -> None:
    desk = Desk()
    assert await refused(desk.verbs.principals.grant("bob", "Not A Role", desk.person("ada"))) == "invalid_payload"


async def test_inv_6_only_an_operator_makes_changes_and_unmakes_operators() -> None:
    desk = Desk()
    ada, oscar = desk.person("ada"), desk.person("oscar")
    principals = desk.verbs.principals
    operator = PERSON | {"roles": ["operator"]}
    assert await refused(principals.grant("ada", "operator", ada)) == "forbidden"
    assert await refused(principals.save("carol", operator, version=None, asker=ada)) == "forbidden"
    await principals.save("carol", operator, version=None, asker=oscar)
    assert await refused(principals.save("carol", PERSON, version=1, asker=ada)) == "forbidden"
    assert await refused(principals.remove("carol", version=1, asker=ada)) == "forbidden"
    assert await refused(principals.grant("carol", "writer", ada)) == "forbidden"
    await principals.grant("bob", "operator", oscar)
    assert await refused(principals.revoke("bob", "operator", ada)) == "forbidden"
    assert desk.person("bob").roles == ("operator",)


async def test_a_removed_principal_leaves_no_role_and_no_key_behind() -> None:
    desk = Desk()
    ada = desk.person("ada")
    await desk.verbs.principals.save("carol", PERSON, version=None, asker=ada)
    await desk.verbs.principals.grant("carol", "writer", ada)
    made = await desk.verbs.keys.make("carol", None, ada)
    await desk.verbs.principals.remove("carol", version=1, asker=ada)
    assert made.id not in desk.stage.parts.catalogue.keys
    await desk.verbs.principals.save("carol", {"kind": "agent"}, version=None, asker=ada)
    assert desk.person("carol").roles == ()
    assert desk.verbs.keys.listed("carol") == []


async def test_keys_and_roles_that_an_earlier_one_left_are_not_the_next_ones() -> None:
    desk = Desk()
    ada = desk.person("ada")
    key = await desk.verbs.keys.make("bob", None, ada)
    await desk.verbs.principals.grant("bob", "writer", ada)
    document = msgspec.to_builtins(desk.config)
    del document["principals"]["bob"]  # the file's own bob left
    desk.config = msgspec.convert(document, Config)
    desk.registered.combined = await desk.serve()
    again = await desk.verbs.principals.save("bob", {"kind": "agent"}, version=None, asker=ada)
    assert (again.roles, again.keys) == ((), ())
    assert key.id not in desk.stage.parts.catalogue.keys
    assert [verb for verb, kind, _, _ in desk.changes[-3:] if kind in ("key", "role")] == ["remove", "remove"]


async def test_a_removal_of_another_version_takes_nothing_away() -> None:
    desk = Desk()
    ada = desk.person("ada")
    await desk.verbs.principals.save("carol", PERSON, version=None, asker=ada)
    key = await desk.verbs.keys.make("carol", None, ada)
    await desk.verbs.principals.grant("carol", "writer", ada)
    assert await refused(desk.verbs.principals.remove("carol", version=7, asker=ada)) == "conflict"
    assert desk.verbs.principals.shown("carol").roles == ("auditor", "writer")
    assert key.id in desk.stage.parts.catalogue.keys
