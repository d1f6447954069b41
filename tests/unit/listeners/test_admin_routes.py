"""The route table of the administrators' door."""

from __future__ import annotations

import re

from sidecar.listeners.admin_routes import Listed
from sidecar.listeners.routes import ADMIN_GUARDS, CHANGES, OPERATES, READS, READS_EVIDENCE, RUNS
from tests.fakes.desk import Desk

ENDPOINTS = Desk().door.endpoints


def test_every_route_has_a_guard_and_a_sentence() -> None:
    for endpoint in ENDPOINTS:
        assert endpoint.guard in ADMIN_GUARDS, endpoint.pattern
        assert re.fullmatch(r"[A-Z].*\.", endpoint.summary), endpoint.summary


def test_what_changes_something_is_not_for_readers() -> None:
    for endpoint in ENDPOINTS:
        assert (endpoint.method == "GET") == (endpoint.guard in (READS, READS_EVIDENCE)), endpoint.pattern
        if endpoint.runs:
            assert endpoint.guard == RUNS
        if endpoint.matches or endpoint.tagged or endpoint.section is not None:
            assert endpoint.guard == CHANGES


def test_inv_6_the_tenants_state_and_the_process_are_the_operators() -> None:
    operated = {endpoint.pattern for endpoint in ENDPOINTS if endpoint.guard == OPERATES}
    assert {"/v1/reload", "/v1/tenant/suspend", "/v1/tenant/activate"} <= operated


def test_lists_come_in_pages() -> None:
    for endpoint in ENDPOINTS:
        if isinstance(endpoint.tells, Listed):
            assert {"limit", "after"} <= set(endpoint.query), endpoint.pattern


def test_what_is_replaced_or_removed_names_its_version() -> None:
    registered = ("connector", "source", "plane", "principal")
    for noun in registered:
        for method in ("PUT", "DELETE"):
            (endpoint,) = [e for e in ENDPOINTS if (e.method, e.pattern) == (method, f"/v1/{noun}s/{{{noun}}}")]
            assert endpoint.matches
