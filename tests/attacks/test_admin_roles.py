"""P09: every route of the administrators' door with every kind of caller; nobody is let in who is not listed.

The table is written here by hand, apart from the door's own. Run with ``-s`` to see it printed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import aiohttp
import pytest

from tests.fakes.desk import Desk
from tests.fakes.parts import key_of

CALLERS: Final = {
    "tenant-admin": "ada",
    "auditor": "audrey",
    "operator": "oscar",
    "no role": "nobody",
    "agent": "alice",
    "other tenant": "stranger",
    "no key": None,
}
A, U, O = "tenant-admin", "auditor", "operator"  # noqa: E741  # the columns of the table below
READ, EVIDENCE, CHANGE, RUN, OPERATE = {A, U, O}, {A, U}, {A, O}, {A}, {O}

TABLE: Final[dict[str, set[str]]] = {
    "GET /v1/openapi.json": READ,
    "GET /v1/status": READ,
    "POST /v1/reload": OPERATE,
    "GET /v1/connectors": READ,
    "GET /v1/connectors/{connector}": READ,
    "PUT /v1/connectors/{connector}": CHANGE,
    "DELETE /v1/connectors/{connector}": CHANGE,
    "POST /v1/connectors/{connector}/connect": CHANGE,
    "POST /v1/connectors/{connector}/disconnect": CHANGE,
    "POST /v1/connectors/{connector}/deprecate": CHANGE,
    "POST /v1/connectors/{connector}/operations/{operation}": RUN,
    "POST /v1/connectors/{connector}/operations/{operation}/test": RUN,
    "GET /v1/connectors/{connector}/health": READ,
    "GET /v1/connectors/{connector}/statistics": READ,
    "GET /v1/sources": READ,
    "GET /v1/sources/{source}": READ,
    "PUT /v1/sources/{source}": CHANGE,
    "DELETE /v1/sources/{source}": CHANGE,
    "POST /v1/sources/{source}/activate": CHANGE,
    "POST /v1/sources/{source}/deactivate": CHANGE,
    "POST /v1/sources/{source}/deprecate": CHANGE,
    "POST /v1/sources/{source}/test": RUN,
    "GET /v1/sources/{source}/statistics": READ,
    "GET /v1/planes": READ,
    "GET /v1/planes/{plane}": READ,
    "PUT /v1/planes/{plane}": CHANGE,
    "DELETE /v1/planes/{plane}": CHANGE,
    "POST /v1/planes/{plane}/enable": CHANGE,
    "POST /v1/planes/{plane}/disable": CHANGE,
    "GET /v1/principals": READ,
    "GET /v1/principals/{principal}": READ,
    "PUT /v1/principals/{principal}": CHANGE,
    "DELETE /v1/principals/{principal}": CHANGE,
    "PUT /v1/principals/{principal}/roles/{role}": CHANGE,
    "DELETE /v1/principals/{principal}/roles/{role}": CHANGE,
    "GET /v1/roles": READ,
    "GET /v1/keys": READ,
    "POST /v1/keys": CHANGE,
    "GET /v1/keys/{key}": READ,
    "POST /v1/keys/{key}/rotate": CHANGE,
    "POST /v1/keys/{key}/expire": CHANGE,
    "DELETE /v1/keys/{key}": CHANGE,
    "GET /v1/credentials": READ,
    "GET /v1/credentials/expiring": READ,
    "GET /v1/credentials/rotatable": READ,
    "GET /v1/credentials/log": EVIDENCE,
    "GET /v1/credential?reference={reference}": READ,
    "PUT /v1/credential?reference={reference}": CHANGE,
    "PATCH /v1/credential?reference={reference}": CHANGE,
    "DELETE /v1/credential?reference={reference}": CHANGE,
    "POST /v1/credential/rotate?reference={reference}": CHANGE,
    "GET /v1/evidence": EVIDENCE,
    "GET /v1/evidence/{origin}/{index}": EVIDENCE,
    "GET /v1/tenant": READ,
    "POST /v1/tenant/suspend": OPERATE,
    "POST /v1/tenant/activate": OPERATE,
    "GET /v1/switches": READ,
    "PUT /v1/switches/{target}/{id}": CHANGE,
    "DELETE /v1/switches/{target}/{id}": CHANGE,
    "GET /v1/policy/activations": READ,
    "POST /v1/policy/activate": OPERATE,
    "POST /v1/policy/rollback": OPERATE,
}
FILLED: Final = {
    **{"connector": "crm", "operation": "get", "source": "crm", "plane": "knowledge", "principal": "bob"},
    **{"key": "key_bob", "role": "reader", "target": "connector", "id": "crm", "origin": "acme-00000000"},
    **{"index": "0", "reference": "encrypted%3A%2F%2Fcrm"},
}


class Cell(NamedTuple):
    status: int
    code: str | None


REFUSED: Final = {"forbidden", "tenant_mismatch", "unauthenticated", "rate_limited"}
EXPECTED: Final = {
    "no key": {Cell(401, "unauthenticated"), Cell(429, "rate_limited")},  # the second when there were many
    "other tenant": {Cell(403, "tenant_mismatch")},
}


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def session(desk: Desk) -> AsyncIterator[aiohttp.ClientSession]:
    port = await desk.door.listen("127.0.0.1", 0, None)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await desk.door.close()


async def ask(session: aiohttp.ClientSession, route: str, name: str | None) -> Cell:
    method, pattern = route.split()
    path = re.sub(r"\{(\w+)\}", lambda place: FILLED[place[1]], pattern)
    headers = {} if name is None else {"Authorization": f"Bearer {key_of(name)}"}
    async with session.request(method, path, headers=headers) as answer:
        told = await answer.json() if answer.content_type == "application/problem+json" else {}
        cell = Cell(answer.status, told.get("code"))
    if route == "POST /v1/tenant/suspend" and cell.status == 200:  # or the next cell would say so
        await ask(session, "POST /v1/tenant/activate", "oscar")
    return cell


def test_p09_the_table_is_whole(desk: Desk) -> None:
    assert {f"{endpoint.method} {endpoint.pattern}" for endpoint in desk.door.endpoints} == {
        route.partition("?")[0] for route in TABLE
    }


@pytest.mark.parametrize("caller", CALLERS)
async def test_p09_every_route_with_every_role(desk: Desk, session: aiohttp.ClientSession, caller: str) -> None:
    for route, roles in TABLE.items():
        before = (len(desk.changes), len(desk.stage.caller.calls), desk.reloads)
        cell = await ask(session, route, CALLERS[caller])
        if caller in roles:
            assert cell.status not in (401, 404, 405) or cell.code not in ("unauthenticated", "not_found"), route
            assert cell.code not in ("forbidden", "tenant_mismatch"), (route, cell)
            continue
        assert cell in EXPECTED.get(caller, {Cell(403, "forbidden")}), route
        assert (len(desk.changes), len(desk.stage.caller.calls), desk.reloads) == before, "and nothing was done"


async def test_p09_the_table_is_printed(session: aiohttp.ClientSession) -> None:
    """What each cell really answers: a dot is a refusal for who asks (401, 403)."""
    lines = [f"{'route':<64}" + "".join(f"{caller:>14}" for caller in CALLERS)]
    for route in TABLE:
        cells = [await ask(session, route, name) for name in CALLERS.values()]
        shown = [str(cell.status) if cell.code not in REFUSED else "." for cell in cells]
        lines.append(f"{route:<64}" + "".join(f"{text:>14}" for text in shown))
        allowed = {caller for caller, text in zip(CALLERS, shown, strict=True) if text != "."}
        assert allowed == TABLE[route], route
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/principals/bob/roles/operator", None),
        ("PUT", "/v1/principals/ada/roles/operator", None),
        ("PUT", "/v1/principals/mallory", {"kind": "person", "roles": ["operator"]}),
        ("POST", "/v1/keys", {"principal": "oscar"}),
        ("DELETE", "/v1/principals/oscar/roles/operator", None),
    ],
)
async def test_inv_6_a_tenant_admin_cannot_become_an_operator(
    desk: Desk, session: aiohttp.ClientSession, method: str, path: str, body: object
) -> None:
    headers = {"Authorization": f"Bearer {key_of('ada')}", "If-None-Match": "*"}
    async with session.request(method, path, json=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
    assert desk.store.rows == {} and desk.changes == []


@pytest.mark.parametrize("route", [route for route, roles in TABLE.items() if roles == OPERATE])
async def test_inv_6_what_is_the_operators_is_not_the_tenants(
    desk: Desk, session: aiohttp.ClientSession, route: str
) -> None:
    for name in ("ada", "audrey"):
        assert await ask(session, route, name) == Cell(403, "forbidden")
    assert (desk.reloads, desk.changes) == (0, [])
    assert desk.verbs.tenant.shown().status == "active"
