"""API keys (M26): shown once, rotated, given an end, revoked."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from sidecar.errors import Refused
from sidecar.model.secret import Secret
from tests.fakes.desk import Desk
from tests.fakes.parts import code

SECOND = 1_000_000
CALL: dict[str, Any] = {"connector": "crm", "operation": "get", "parameters": {"id": "7"}}


async def refused(awaitable: Any) -> str:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def called(desk: Desk, key: str) -> str | None:
    outcome = await desk.stage.handle(None, token=Secret(key), **CALL)
    return None if outcome.problem is None else code(outcome)


async def test_a_made_key_works_at_once_and_its_secret_is_kept_nowhere() -> None:
    desk = Desk()
    made = await desk.verbs.keys.make("bob", None, desk.person("ada"))
    assert re.fullmatch(r"scp_[0-9a-f]{10}_[\w-]{43}", made.key)
    assert await called(desk, made.key) is None
    kept = repr(desk.store.rows) + repr(desk.stage.evidence.leaves) + repr(desk.verbs.keys.listed())
    assert made.key not in kept and made.key[-43:] not in kept
    assert desk.stage.evidence.leaves[-1].principal == "bob"


async def test_keys_are_listed_with_those_of_the_file() -> None:
    desk = Desk()
    made = await desk.verbs.keys.make("bob", None, desk.person("ada"))
    listed = {view.id: view for view in desk.verbs.keys.listed("bob")}
    assert set(listed) == {"key_bob", made.id}
    assert listed["key_bob"].declared and not listed[made.id].declared
    with pytest.raises(Refused) as unknown:
        desk.verbs.keys.shown("nothing")
    assert unknown.value.code == "unknown_key"


async def test_a_key_ends_at_its_moment() -> None:
    desk = Desk()
    ada = desk.person("ada")
    now = desk.stage.clock.now()
    assert await refused(desk.verbs.keys.make("bob", now, ada)) == "invalid_payload"
    made = await desk.verbs.keys.make("bob", now + 60 * SECOND, ada)
    assert await called(desk, made.key) is None
    desk.stage.clock.advance(61)
    assert await called(desk, made.key) == "unauthenticated"
    assert desk.verbs.keys.shown(made.id).expired


async def test_a_rotated_key_goes_on_for_its_grace() -> None:
    desk = Desk()
    ada = desk.person("ada")
    old = await desk.verbs.keys.make("bob", None, ada)
    fresh = await desk.verbs.keys.rotate(old.id, 60, ada)
    assert fresh.principal == "bob" and fresh.id != old.id
    assert (await called(desk, old.key), await called(desk, fresh.key)) == (None, None)
    desk.stage.clock.advance(61)
    assert (await called(desk, old.key), await called(desk, fresh.key)) == ("unauthenticated", None)


async def test_a_key_that_is_ended_while_it_is_rotated_stays_ended() -> None:
    desk = Desk()
    ada = desk.person("ada")
    old = await desk.verbs.keys.make("bob", None, ada)
    rotated, _ = await asyncio.gather(
        desk.verbs.keys.rotate(old.id, 86_400, ada), desk.verbs.keys.expire(old.id, 0, ada)
    )
    assert (await called(desk, old.key), await called(desk, rotated.key)) == ("unauthenticated", None)


async def test_a_key_that_has_ended_is_not_rotated() -> None:
    desk = Desk()
    ada = desk.person("ada")
    made = await desk.verbs.keys.make("bob", None, ada)
    await desk.verbs.keys.expire(made.id, 0, ada)
    with pytest.raises(Refused) as ended:
        await desk.verbs.keys.rotate(made.id, 60, ada)
    assert ended.value.code == "wrong_status" and "Make a new one of 'bob'" in ended.value.detail


async def test_a_key_is_ended_and_revoked() -> None:
    desk = Desk()
    ada = desk.person("ada")
    one, two = [await desk.verbs.keys.make("bob", None, ada) for _ in range(2)]
    await desk.verbs.keys.expire(one.id, 0, ada)
    await desk.verbs.keys.revoke(two.id, ada)
    assert (await called(desk, one.key), await called(desk, two.key)) == ("unauthenticated", "unauthenticated")
    assert await refused(desk.verbs.keys.revoke(two.id, ada)) == "unknown_key"


async def test_a_key_of_the_file_is_changed_there() -> None:
    desk = Desk()
    ada = desk.person("ada")
    for verb in (
        desk.verbs.keys.revoke("key_bob", ada),
        desk.verbs.keys.rotate("key_bob", 1, ada),
        desk.verbs.keys.expire("key_bob", 1, ada),
    ):
        assert await refused(verb) == "declared"


async def test_inv_6_keys_of_operators_are_for_operators() -> None:
    desk = Desk()
    ada, oscar = desk.person("ada"), desk.person("oscar")
    assert await refused(desk.verbs.keys.make("oscar", None, ada)) == "forbidden"
    made = await desk.verbs.keys.make("oscar", None, oscar)
    for verb in (
        desk.verbs.keys.revoke(made.id, ada),
        desk.verbs.keys.rotate(made.id, 1, ada),
        desk.verbs.keys.expire(made.id, 1, ada),
    ):
        assert await refused(verb) == "forbidden"


async def test_a_key_is_of_a_principal_that_is_there() -> None:
    desk = Desk()
    assert await refused(desk.verbs.keys.make("nobody-here", None, desk.person("ada"))) == "unknown_principal"


async def test_a_key_says_how_often_and_when_it_was_used() -> None:
    desk = Desk()
    made = await desk.verbs.keys.make("bob", None, desk.person("ada"))
    assert (desk.verbs.keys.shown(made.id).used, desk.verbs.keys.shown(made.id).last_used) == (0, None)
    await called(desk, made.key)
    await called(desk, made.key)
    shown = desk.verbs.keys.shown(made.id)
    assert (shown.used, shown.last_used) == (2, desk.stage.clock.now())


async def test_p12_a_revoked_keys_open_stream_ends() -> None:
    desk = Desk()
    ada = desk.person("ada")
    made = await desk.verbs.keys.make("bob", None, ada)
    cut = desk.stage.switches.open(desk.stage.parts.catalogue.keys[made.id].principal, "crm")
    await desk.verbs.keys.revoke(made.id, ada)
    assert cut.error is not None and cut.error.code == "unauthenticated"
