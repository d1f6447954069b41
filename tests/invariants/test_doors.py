"""INV-6: every route has its guard, and an agent's key opens only what is the agent's own."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sidecar.listeners.access import AccessDoor
from sidecar.listeners.routes import ADMIN_GUARDS, AGENT, Route, Routes
from tests.fakes.desk import Desk
from tests.fakes.parts import key_of, set_stage
from tests.fakes.requests import asking, document

AGENTS_ROUTES = {
    ("POST", "/v1/access"),
    ("POST", "/v1/connectors/{connector}/operations/{operation}"),
    ("GET", "/v1/planes"),
    ("GET", "/v1/planes/{plane}/operations"),
    ("GET", "/v1/evidence"),
    ("GET", "/v1/evidence/{origin}/{index}"),
}
ADMINS_ROUTES = {(endpoint.method, endpoint.pattern) for endpoint in Desk().door.endpoints}


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[Route[Any]]:
    """Every route that is declared from here on."""
    seen: list[Route[Any]] = []
    before = Routes.__init__

    def spy(self: Routes[Any], routes: Any) -> None:
        listed = list(routes)
        seen.extend(listed)
        before(self, listed)

    monkeypatch.setattr(Routes, "__init__", spy)
    return seen


def test_inv_6_the_agents_door_has_these_routes_and_no_other(declared: list[Route[Any]]) -> None:
    AccessDoor(set_stage().parts)
    assert {(route.method, route.pattern) for route in declared} == AGENTS_ROUTES
    assert {route.guard for route in declared} == {AGENT}


def test_inv_6_every_route_of_the_administrators_door_has_a_guard_of_its_own(declared: list[Route[Any]]) -> None:
    Desk()
    assert {(route.method, route.pattern) for route in declared} == ADMINS_ROUTES
    assert {route.guard for route in declared} == set(ADMIN_GUARDS)


@pytest.mark.parametrize(("method", "pattern"), sorted(ADMINS_ROUTES - AGENTS_ROUTES))
async def test_inv_6_no_admins_route_is_reached_with_an_agents_key(method: str, pattern: str) -> None:
    stage = set_stage()
    target = re.sub(r"\{\w+\}", "crm", pattern)
    answer = await AccessDoor(stage.parts).answer(asking(method, target, {}, key=key_of("alice")))
    assert answer.status in (404, 405)
    assert document(answer)["code"] in ("not_found", "method_not_allowed")
    assert stage.caller.calls == []


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/v1", "/v1/", "/metrics", "/readyz", "/admin", "/v1/credentials", "/v1/keys", "/v1/tenants"),
        *(
            "/v1/policy",
            "/v1/audit",
            "/v1/evidence/acme-00000000",
            "/v1/planes/../status",
            "/v1//status",
            "/V1/planes",
        ),
        *("/v1/access/", "/v1/principals", "/.env", "/v1/reload", "/v1/status", "*"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_inv_6_what_is_not_listed_is_not_there(method: str, target: str) -> None:
    stage = set_stage()
    answer = await AccessDoor(stage.parts).answer(asking(method, target, key=key_of("alice")))
    assert answer.status == 404
    assert document(answer)["code"] == "not_found"
    assert [leaf.code for leaf in stage.evidence.leaves] == ["not_found"]


async def test_inv_6_an_agent_cannot_say_who_it_is() -> None:
    """Neither a header nor a body names the principal, the tenant or the surface; only the key does."""
    stage = set_stage()
    headers = [
        *((b"x-principal", b"bob"), (b"x-forwarded-for", b"10.0.0.1"), (b"sidecar-principal", b"bob")),
        *((b"x-tenant", b"umbrella"), (b"x-forwarded-user", b"admin"), (b"forwarded", b"for=10.0.0.1")),
    ]
    body = {"plane_id": "knowledge", "action": "query"}
    await AccessDoor(stage.parts).answer(asking("POST", "/v1/access", body, key=key_of("alice"), headers=headers))
    for leaf in stage.evidence.leaves:
        assert (leaf.principal, leaf.tenant, leaf.surface) == ("alice", "acme", "access")
    assert b"bob" not in stage.engine.documents[0]
    assert b"umbrella" not in stage.engine.documents[0]
    sent = stage.caller.calls[0].headers
    assert not {b"x-principal", b"x-forwarded-for", b"x-tenant", b"forwarded"} & set(sent)
