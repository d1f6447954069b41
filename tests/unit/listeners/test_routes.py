"""Routes and their guards."""

from __future__ import annotations

import pytest

from sidecar.errors import Misconfigured, Refused
from sidecar.listeners.routes import ADMIN_GUARDS, AGENT, PUBLIC, ROLES, Route, Routes


def routes(*pairs: tuple[str, str]) -> Routes[str]:
    return Routes([Route(method, pattern, AGENT, f"{method} {pattern}") for method, pattern in pairs])


KNOWN = routes(
    ("GET", "/v1/planes"),
    ("POST", "/v1/planes"),
    ("GET", "/v1/planes/{plane}/operations"),
    ("GET", "/v1/evidence/{origin}/{index}"),
    ("GET", "/v1/evidence"),
    ("POST", "/a.b/{x}"),
)


@pytest.mark.parametrize("guard", ["", "nobody", "AGENT", None])
def test_inv_6_a_route_without_a_guard_refuses_to_start(guard: str) -> None:
    with pytest.raises(Misconfigured, match="GET /v1/x"):
        Routes([Route("GET", "/v1/x", guard, "handler")])


def test_inv_6_a_guard_names_known_roles_and_an_operator_is_no_tenant_admin() -> None:
    for guard, roles in ADMIN_GUARDS.items():
        assert roles and roles <= set(ROLES), guard
    assert ADMIN_GUARDS["operates"] == {"operator"}
    assert "auditor" not in ADMIN_GUARDS["changes"] | ADMIN_GUARDS["runs"] | ADMIN_GUARDS["operates"]


@pytest.mark.parametrize("guard", [AGENT, PUBLIC, *ADMIN_GUARDS])
def test_a_route_with_a_guard_is_found(guard: str) -> None:
    assert Routes([Route("GET", "/", guard, "here")]).find("GET", "/").handler == "here"


def test_a_route_is_listed_once() -> None:
    with pytest.raises(Misconfigured, match="twice"):
        routes(("GET", "/a"), ("GET", "/a"))
    with pytest.raises(Misconfigured, match="twice"):
        routes(("GET", "/a/{x}"), ("GET", "/a/{y}"))


@pytest.mark.parametrize(
    ("method", "path", "handler", "values"),
    [
        ("GET", "/v1/planes", "GET /v1/planes", {}),
        ("POST", "/v1/planes", "POST /v1/planes", {}),
        ("GET", "/v1/planes/kb/operations", "GET /v1/planes/{plane}/operations", {"plane": "kb"}),
        ("GET", "/v1/planes/a%2Fb/operations", "GET /v1/planes/{plane}/operations", {"plane": "a%2Fb"}),
        ("GET", "/v1/evidence/o-1/7", "GET /v1/evidence/{origin}/{index}", {"origin": "o-1", "index": "7"}),
    ],
)
def test_a_path_leads_to_its_handler(method: str, path: str, handler: str, values: dict[str, str]) -> None:
    found = KNOWN.find(method, path)
    assert (found.handler, found.values) == (handler, values)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "*", "/v1", "/v1/planes/", "//v1/planes", "/v1/Planes", "/v1/planes/x", "/v1/planes//operations"),
        *("/v1/evidence/o/1/2", "/v1/planes/a/b/operations", "/aXb/1", "/v1/planes/../planes", "/v1/planes\n"),
        *("/v1/planes/x/operations\n", "http://x/v1/planes"),
    ],
)
def test_any_other_path_is_not_there(path: str) -> None:
    with pytest.raises(Refused) as refused:
        KNOWN.find("GET", path)
    assert refused.value.code == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/planes", "GET, POST"),
        ("HEAD", "/v1/planes", "GET, POST"),
        ("get", "/v1/planes", "GET, POST"),
        ("POST", "/v1/planes/x/operations", "GET"),
    ],
)
def test_another_method_is_told_which_would_do(method: str, path: str, allowed: str) -> None:
    with pytest.raises(Refused) as refused:
        KNOWN.find(method, path)
    assert refused.value.code == "method_not_allowed"
    assert f"takes {allowed}." in refused.value.detail
    assert ", ".join(KNOWN.methods(path)) == allowed
