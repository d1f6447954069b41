"""What is asked for, and its payload."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.model.call import Call
from sidecar.pipeline.select import (
    LONGEST_VIOLATION,
    MOST_SEARCHED,
    MOST_SEARCHED_FOR_ONE,
    MOST_VIOLATIONS,
    find_plane,
    select,
    validate,
)
from sidecar.rules.catalogue import Operation, Standing, compile_catalogue
from tests.fakes.parts import CONFIG, changed

CATALOGUE = compile_catalogue(msgspec.convert(CONFIG, Config))


def asking(**more: Any) -> Call:
    return Call(**({"id": "c", "surface": "access", "action": "execute"} | more))


def operation(name: str) -> Operation:
    return CATALOGUE.connectors["crm"].operations[name]


def refusal(parameters: Any, name: str = "get") -> Refused:
    with pytest.raises(Refused) as refused:
        validate(parameters, operation(name))
    assert refused.value.code == "invalid_payload"
    return refused.value


@pytest.mark.parametrize(
    ("call", "connector", "name"),
    [
        (asking(plane="knowledge", action="query"), "crm", "find"),
        (asking(plane="knowledge", action="retrieve", operation="get"), "crm", "get"),
        (asking(plane="knowledge", action="search", operation="get"), "crm", "get"),
        (asking(connector="crm", operation="add"), "crm", "add"),
        (asking(connector="open", operation="get"), "open", "get"),
    ],
)
def test_a_call_finds_its_operation(call: Call, connector: str, name: str) -> None:
    target = select(call, CATALOGUE)
    assert (target.connector.id, target.operation.id) == (connector, name)
    assert (target.plane.id if target.plane else None) == call.plane


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (asking(plane="nothing", action="query"), "unknown_plane"),
        (asking(plane="", action="query"), "unknown_plane"),
        (asking(plane="knowledge", action="list"), "unsupported_action"),
        (asking(plane="knowledge", action="execute"), "unsupported_action"),
        (asking(plane="knowledge", action="query", operation="get"), "unknown_operation"),
        (asking(plane="knowledge", action="query", operation="add"), "unknown_operation"),
        (asking(plane="knowledge", action="query", operation=""), "unknown_operation"),
        (asking(plane="knowledge", action="search"), "invalid_payload"),
        (asking(connector="nothing", operation="get"), "unknown_connector"),
        (asking(), "unknown_connector"),
        (asking(connector="crm"), "unknown_operation"),
        (asking(connector="crm", operation="nothing"), "unknown_operation"),
        (asking(connector="open", operation="add"), "unknown_operation"),
    ],
)
def test_each_unknown_id_has_its_own_code(call: Call, code: str) -> None:
    with pytest.raises(Refused) as refused:
        select(call, CATALOGUE)
    assert refused.value.code == code


def test_a_plane_cannot_reach_another_connector() -> None:
    """A call that names a plane goes where the plane goes, whatever connector it names as well."""
    assert select(asking(plane="knowledge", action="query", connector="open"), CATALOGUE).connector.id == "crm"


def test_find_plane() -> None:
    assert find_plane("knowledge", CATALOGUE).id == "knowledge"


def test_a_payload_that_fits_fills_the_template() -> None:
    assert validate({"id": "7"}, operation("get")).path == "/v1/items/7"
    assert validate(None, operation("watch")).path == "/v1/events"
    assert validate({}, operation("watch")).path == "/v1/events"


@pytest.mark.parametrize("parameters", [[], "text", 1, True, False, [{"id": "7"}]])
def test_a_payload_is_an_object(parameters: object) -> None:
    assert refusal(parameters).reasons


def test_every_violation_is_listed_at_its_place() -> None:
    reasons = refusal({"page": 0, "fields": ["a", 1], "extra": 1}).reasons
    assert {reason.code for reason in reasons} == {"schema_violation"}
    places = [reason.message.partition(":")[0] for reason in reasons]
    assert sorted(places) == ["parameters", "parameters", "parameters/fields/1", "parameters/page"]


def test_the_list_of_violations_is_bounded() -> None:
    reasons = refusal({"id": "7", "fields": [1] * 1000}).reasons
    assert len(reasons) == MOST_VIOLATIONS + 1
    assert reasons[-1].code == "more_violations"


@pytest.mark.parametrize(
    ("size", "places"),
    [
        (MOST_SEARCHED - 2, ["parameters/fields/0"] * (MOST_VIOLATIONS + 1)),
        (MOST_SEARCHED, ["parameters/fields/0", "parameters"]),
        (MOST_SEARCHED_FOR_ONE, ["parameters"]),
    ],
)
def test_of_a_long_payload_the_first_violation_is_told_and_of_a_very_long_one_none(
    size: int, places: list[str]
) -> None:
    reasons = refusal({"id": "7", "fields": [1] * size}).reasons
    assert len(reasons) == len(places)
    assert reasons[0].message.partition(":")[0] == places[0]
    assert ("too many values" in reasons[-1].message) == (size > MOST_SEARCHED - 2)


@pytest.mark.parametrize("wrong", [{"fields": [1] * 500_000}, {"id": [[]] * 300_000}, {"page": "x" * 1_000_000}])
def test_a79_a_payload_of_a_megabyte_that_does_not_match_is_refused_at_once(wrong: dict[str, object]) -> None:
    before = time.thread_time()
    assert refusal({"id": "7"} | wrong).code == "invalid_payload"
    assert time.thread_time() - before < 0.2


def test_a_violation_neither_quotes_the_payload_nor_grows_with_it() -> None:
    reasons = refusal({"id": "7", "page": "hunter2", "region": ["hunter2"]}).reasons
    assert not any("hunter2" in reason.message for reason in reasons)
    assert all(len(reason.message) <= LONGEST_VIOLATION for reason in refusal({"id": "7", "x" * 10_000: 1}).reasons)


def test_a_value_without_a_safe_form_is_refused_although_the_schema_takes_it() -> None:
    assert refusal({"id": "../admin"}).reasons[0].code == "unsafe_parameter"


@pytest.mark.parametrize("part", [("plane", "knowledge"), ("source", "crm"), ("connector", "crm")])
def test_what_an_admin_took_out_of_service_is_refused(part: tuple[str, str]) -> None:
    standing = Standing(inactive=frozenset({part}))
    catalogue = compile_catalogue(msgspec.convert(CONFIG, Config), standing)
    for call in (asking(plane="knowledge", action="query"), asking(connector="crm", operation="get")):
        if call.connector and part[0] != "connector":
            select(call, catalogue)
            continue
        with pytest.raises(Refused) as refused:
            select(call, catalogue)
        assert refused.value.code == "inactive"
    select(asking(connector="open", operation="get"), catalogue)


@pytest.mark.parametrize(
    ("capabilities", "call", "code"),
    [
        (["read"], asking(connector="crm", operation="get"), None),
        (["read"], asking(connector="crm", operation="add"), "not_capable"),
        (["write"], asking(connector="crm", operation="get"), "not_capable"),
        (["read"], asking(connector="crm", operation="watch"), "not_capable"),
        (["read", "stream"], asking(connector="crm", operation="watch"), None),
        (["read"], asking(plane="knowledge", action="retrieve"), None),
        (["read"], asking(plane="knowledge", action="query"), "not_capable"),
        (["read", "query"], asking(plane="knowledge", action="query"), None),
        (["read", "query"], asking(plane="knowledge", action="search", operation="get"), "not_capable"),
        ([], asking(connector="crm", operation="get"), "not_capable"),
    ],
)
def test_an_operation_outside_the_capabilities_is_refused(
    capabilities: list[str], call: Call, code: str | None
) -> None:
    document = changed("connectors.crm.capabilities", capabilities)
    catalogue = compile_catalogue(msgspec.convert(document, Config))
    if code is None:
        select(call, catalogue)
        return
    with pytest.raises(Refused) as refused:
        select(call, catalogue)
    assert refused.value.code == code
