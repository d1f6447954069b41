"""The routes of the credential service: references in the query, versions as ETags, and no value in any answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import pytest

from sidecar.errors import Reason, Unavailable
from sidecar.rules.credential_terms import DAY
from tests.attacks.test_admin_roles import FILLED, TABLE
from tests.fakes.credentials import HeldStore
from tests.fakes.desk import HOUSE, Desk
from tests.fakes.parts import changed, key_of
from tests.leaks.scanner import Canary, scan

CANARY: Final = "c4n4ry/Value+with=odd&bytes"
ONE: Final = f"/v1/credential?reference={quote('encrypted://crm', safe='')}"
MAIL: Final = f"/v1/credential?reference={quote('encrypted://mail', safe='')}"
ROTATE: Final = ONE.replace("credential?", "credential/rotate?")
NEW: Final = {"If-None-Match": "*"}
VALUE: Final = {"value": CANARY}


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def ada(desk: Desk) -> AsyncIterator[aiohttp.ClientSession]:
    port = await desk.door.listen("127.0.0.1", 0, None)
    headers = {"Authorization": f"Bearer {key_of('ada')}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
        yield session
    await desk.door.close()


async def code(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    told = await answer.json()
    assert CANARY not in json.dumps(told)
    return answer.status, told["code"]


def tagged(version: str) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


async def test_a_credential_is_stored_shown_rotated_amended_and_deleted(
    ada: aiohttp.ClientSession, desk: Desk
) -> None:
    async with ada.put(ONE, json=VALUE | {"kind": "API_KEY", "rotate_days": 90}, headers=NEW) as answer:
        assert (answer.status, answer.headers["ETag"]) == (201, '"1"')
    async with ada.get(ONE) as answer:
        shown = await answer.json()
        assert (answer.status, answer.headers["ETag"], answer.headers["Cache-Control"]) == (200, '"1"', "no-store")
        assert (shown["reference"], shown["kind"], shown["rotate_days"]) == ("encrypted://crm", "API_KEY", 90)
        assert shown["used_by"] == ["crm"] and shown["bindings"][0]["hosts"] == ["api.example:443"]
    async with ada.post(ROTATE, json={"value": f"{CANARY}-2"}, headers=tagged("1")) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
        assert (await answer.json())["rotate_days"] == 90
    async with ada.put(ONE, json={"value": f"{CANARY}-3"}, headers=tagged("2")) as answer:
        assert (answer.status, answer.headers["ETag"], (await answer.json())["rotate_days"]) == (200, '"3"', None)
    async with ada.patch(ONE, json={"rotate_days": 7}, headers=tagged("3")) as answer:
        assert (answer.status, answer.headers["ETag"], (await answer.json())["rotate_days"]) == (200, '"3"', 7)
    async with ada.patch(ONE, json={"rotate_days": None}, headers=tagged("3")) as answer:
        assert (await answer.json())["rotate_days"] is None
    async with ada.delete(ONE, headers=tagged("3")) as answer:
        assert await code(answer) == (409, "in_use")
    async with ada.delete(f"{ONE}&force=true", headers=tagged("3")) as answer:
        gone = await answer.json()
        assert (answer.status, gone["left_without"], gone["version"]) == (200, ["crm"], "3")
    async with ada.get(ONE) as answer:
        assert await code(answer) == (404, "unknown_credential")
    assert [verb for verb, kind, _, failed in desk.changes if kind == "credential" and failed is None] == [
        *("store", "rotate", "rotate", "amend", "amend", "delete")
    ]


async def test_a_call_uses_what_was_stored_here(ada: aiohttp.ClientSession, desk: Desk) -> None:
    desk.stage.parts.credentials = {"encrypted": desk.vault}
    async with ada.put(ONE, json=VALUE | {"kind": "CUSTOM"}, headers=NEW) as answer:
        assert answer.status == 201
    assert (await desk.stage.handle()).status == 200
    assert desk.stage.caller.calls[-1].headers[b"authorization"] == f"Bearer {CANARY}".encode()
    async with ada.get("/v1/credentials/log?limit=1") as answer:
        [use] = (await answer.json())["accesses"]
    assert (use["verb"], use["version"], use["principal"], use["code"]) == ("use", "1", "alice", "allowed")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("PUT", ONE, VALUE, {}, (428, "precondition_required")),
        ("PUT", ONE, VALUE, {"If-Match": "3"}, (400, "malformed")),
        ("PUT", ONE, VALUE, {"If-Match": 'W/"3"'}, (400, "malformed")),
        ("PUT", ONE, VALUE, {"If-Match": '"1", "2"'}, (400, "malformed")),
        ("PUT", ONE, VALUE, NEW | {"If-Match": '"3"'}, (400, "malformed")),
        ("PUT", ONE, VALUE, {"If-Match": '"3"'}, (404, "unknown_credential")),
        ("PUT", "/v1/credential", VALUE, NEW, (422, "invalid_payload")),
        ("PUT", f"{ONE}&reference=encrypted%3A%2F%2Fmail", VALUE, NEW, (422, "invalid_payload")),
        ("PUT", f"{ONE}&value={CANARY}", VALUE, NEW, (422, "invalid_payload")),
        ("PUT", "/v1/credential?reference=crm", VALUE, NEW, (422, "invalid_payload")),
        ("PUT", f"/v1/credential?reference={quote(CANARY)}", VALUE, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"value": ""}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"value": "abc"}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"value": CANARY * 4000}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"value": [CANARY]}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"value": f"{CANARY}\r\n"}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"kind": CANARY}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {CANARY: "x"}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"expires": 1}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"expires": CANARY}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, VALUE | {"rotate_days": 0}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, {}, NEW, (422, "invalid_payload")),
        ("PUT", ONE, [CANARY], NEW, (422, "invalid_payload")),
        ("POST", ROTATE, VALUE, NEW, (428, "precondition_required")),
        ("POST", ROTATE, VALUE | {"kind": "CUSTOM"}, {"If-Match": "*"}, (422, "invalid_payload")),
        ("PATCH", ONE, {"rotate_days": 3}, NEW, (428, "precondition_required")),
        ("PATCH", ONE, VALUE, {"If-Match": "*"}, (422, "invalid_payload")),
        ("DELETE", ONE, None, NEW, (428, "precondition_required")),
        ("DELETE", f"{ONE}&force=yes", None, {"If-Match": "*"}, (422, "invalid_payload")),
        ("GET", "/v1/credentials/expiring?days=many", None, {}, (422, "invalid_payload")),
        ("GET", "/v1/credentials/expiring?days=36501", None, {}, (422, "invalid_payload")),
        ("GET", "/v1/credentials/log?since=yesterday", None, {}, (422, "invalid_payload")),
        ("GET", "/v1/credentials/log?reference=crm", None, {}, (422, "invalid_payload")),
        ("POST", ONE, VALUE, {}, (405, "method_not_allowed")),
    ],
)
async def test_inv_5_what_is_refused_repeats_nothing_of_a_secret(
    ada: aiohttp.ClientSession,
    desk: Desk,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    async with ada.request(method, path, json=body, headers=headers) as answer:
        assert await code(answer) == expected
        assert CANARY not in str(answer.headers)
    written = (
        repr(desk.stage.evidence.leaves) + repr(desk.stage.evidence.documents) + repr(desk.stage.observer.events)
    )
    assert CANARY not in written
    assert desk.vault.version("crm") is None and desk.vault.version("mail") is None


@pytest.mark.parametrize(
    "text", ['{"value": "%s", "value": "b"}', '{"value": "%s"', '"%s"', "%s", '{"value": "%s\\x"}']
)
async def test_inv_5_a_body_that_is_no_json_is_not_repeated(ada: aiohttp.ClientSession, text: str) -> None:
    headers = NEW | {"Content-Type": "application/json"}
    async with ada.put(ONE, data=text % CANARY, headers=headers) as answer:
        assert (await code(answer))[0] in (400, 422)
    async with ada.put(ONE, data=text % CANARY, headers=NEW) as answer:
        assert await code(answer) == (415, "unsupported_media_type")


async def test_inv_5_no_route_gives_a_value_back(desk: Desk) -> None:
    """Every route with every way to ask, after a value was stored, by the person who may do everything."""
    port = await desk.door.listen("127.0.0.1", 0, None)
    seen: list[bytes] = []
    key = {"Authorization": f"Bearer {key_of('all')}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=key) as session:
        for route in ("PUT /v1/credential?reference={reference}", *TABLE):
            method, pattern = route.split()
            path = re.sub(r"\{(\w+)\}", lambda place: FILLED[place[1]], pattern)
            for headers in ({}, NEW, {"If-Match": "*"}):
                for body in (None, VALUE, VALUE | {"kind": "CUSTOM"}):
                    async with session.request(method, path, json=body, headers=headers) as answer:
                        seen.append(repr(answer.headers).encode() + await answer.read())
            if desk.vault.version("crm") is None:
                async with session.put(ONE, json=VALUE, headers=NEW) as answer:
                    seen.append(repr(answer.headers).encode() + await answer.read())
        async with session.get("/v1/evidence?limit=500") as answer:
            seen.append(await answer.read())
    await desk.door.close()
    assert desk.vault.version("crm") is not None and b'"verb":"store"' in seen[-1]
    canary = Canary("API_KEY", CANARY.encode())
    assert scan({"answers": b"\n".join(seen)}, [canary]) == []
    told = repr(desk.stage.observer.events) + repr(desk.stage.evidence.leaves) + repr(desk.stage.evidence.documents)
    assert scan({"log": told.encode()}, [canary]) == []


async def test_lists_are_filtered_and_paged(ada: aiohttp.ClientSession) -> None:
    for path, body in ((ONE, VALUE | {"kind": "CUSTOM"}), (MAIL, VALUE)):
        async with ada.put(path, json=body, headers=NEW) as answer:
            assert answer.status == 201
    both = ["encrypted://crm", "encrypted://mail"]
    for query, found in (
        ("", both),
        ("scheme=encrypted", both),
        ("scheme=vault", []),
        ("kind=CUSTOM", both[:1]),
        ("connector=crm", both[:1]),
        ("connector=nothing", []),
        ("state=ok&kind=API_KEY", both[1:]),
        ("state=missing", []),
        ("limit=1", both[:1]),
        ("limit=1&after=encrypted%3A%2F%2Fcrm", both[1:]),
    ):
        async with ada.get(f"/v1/credentials?{query}") as answer:
            listed = await answer.json()
            assert [view["reference"] for view in listed["credentials"]] == found, query
            assert listed["faults"] == []


async def test_a_list_says_which_store_it_is_not_whole_without(ada: aiohttp.ClientSession, desk: Desk) -> None:
    desk.vault.broken = Unavailable("store_unavailable", "It is down.", [Reason("store_sealed", "Unseal it.")])
    async with ada.get("/v1/credentials") as answer:
        listed = await answer.json()
        assert answer.status == 200
        assert [fault["code"] for fault in listed["faults"]] == ["store_unavailable"]
    async with ada.get(ONE) as answer:
        assert await code(answer) == (502, "store_unavailable")


async def test_what_ends_soon_comes_soonest_first_and_what_is_overdue_most_overdue_first(
    ada: aiohttp.ClientSession, desk: Desk
) -> None:
    now = desk.stage.clock.now()
    terms = {"a": (9, 5), "b": (3, 1), "c": (20, None), "d": (None, 3), "e": (400, 9)}
    for name, (ends, rotate) in terms.items():
        body = VALUE | {"expires": None if ends is None else now + ends * DAY, "rotate_days": rotate}
        async with ada.put(f"/v1/credential?reference=encrypted%3A%2F%2F{name}", json=body, headers=NEW) as answer:
            assert answer.status == 201

    async def listed(path: str) -> list[str]:
        names, after = [], ""
        while True:
            async with ada.get(f"{path}&limit=2{after}") as answer:
                page = await answer.json()
            names += [view["reference"].rpartition("/")[2] for view in page["credentials"]]
            if page["next"] is None:
                return names
            after = f"&after={quote(page['next'], safe='')}"

    assert await listed("/v1/credentials/expiring?days=30") == ["b", "a", "c"]
    assert await listed("/v1/credentials/expiring?days=10") == ["b", "a"]
    assert await listed("/v1/credentials/expiring?") == ["b", "a", "c"]
    assert await listed("/v1/credentials/rotatable?") == ["b", "d", "a", "e", "c"]


async def test_the_access_log_is_filtered_and_paged(ada: aiohttp.ClientSession, desk: Desk) -> None:
    for name in ("alice", "bob", "alice"):
        await desk.stage.handle(name)
    reference = "reference=encrypted%3A%2F%2Fcrm"
    for query, found in (
        ("", ["alice", "bob", "alice"]),
        (reference, ["alice", "bob", "alice"]),
        ("reference=encrypted%3A%2F%2Fother", []),
        ("principal=bob", ["bob"]),
        ("connector=open", []),
        (f"{reference}&version=1&principal=alice", ["alice", "alice"]),
        ("version=2", []),
    ):
        async with ada.get(f"/v1/credentials/log?{query}") as answer:
            told = await answer.json()
            assert [use["principal"] for use in told["accesses"]] == found, query
            assert told["next"] is None
    async with ada.get("/v1/credentials/log?limit=2") as answer:
        first = await answer.json()
    async with ada.get(f"/v1/credentials/log?limit=2&before={first['next']}") as answer:
        rest = await answer.json()
    assert [use["principal"] for use in (*first["accesses"], *rest["accesses"])] == ["alice", "bob", "alice"]


async def test_a_reference_with_slashes_and_a_field_comes_through_the_query(
    ada: aiohttp.ClientSession, desk: Desk
) -> None:
    desk.stores["vault"] = HeldStore(desk.stage.clock, "vault")
    reference = "vault://secret/acme/crm#token"
    async with ada.put("/v1/credential", params={"reference": reference}, json=VALUE, headers=NEW) as answer:
        assert (answer.status, (await answer.json())["reference"]) == (201, reference)
    async with ada.get("/v1/credential", params={"reference": "vault://secret/acme/crm"}) as answer:
        assert answer.status == 200, "as lists show it"


async def test_inv_6_what_the_registry_logs_in_with_is_forbidden_to_the_tenant() -> None:
    desk = Desk(changed("registry", {"postgres": "encrypted://crm"}, HOUSE))
    port = await desk.door.listen("127.0.0.1", 0, None)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for name, expected in (("ada", 403), ("oscar", 201)):
            headers = NEW | {"Authorization": f"Bearer {key_of(name)}"}
            async with session.put(ONE, json=VALUE, headers=headers) as answer:
                assert answer.status == expected
    await desk.door.close()
