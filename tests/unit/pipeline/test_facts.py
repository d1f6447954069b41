"""The policy's input is total: every key on every call."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.model.call import Call
from sidecar.model.decision import DestinationFacts, Finding, PolicyInput
from sidecar.model.principal import Principal
from sidecar.pipeline.facts import document, facts
from sidecar.pipeline.select import select, validate
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.parts import CONFIG

CATALOGUE = compile_catalogue(msgspec.convert(CONFIG, Config))
ALICE = Principal(id="alice", kind="agent", tenant="acme", roles=("reader",), labels={"team": "support"})
NOW = 1_700_000_000_000_000


def asked(parameters: Any = None, *, offered: bool = False, now: int = NOW, **more: Any) -> dict[str, Any]:
    call = Call(**({"id": "c", "surface": "access", "action": "execute"} | more), parameters=parameters)
    target = select(call, CATALOGUE)
    rendered = None if offered else validate(parameters, target.operation)
    made: dict[str, Any] = json.loads(document(facts(call, ALICE, target, parameters, rendered, now)))
    return made


def test_switches_that_are_set_are_shown() -> None:
    call = Call(id="c", surface="access", action="execute", connector="crm", operation="get")
    target = select(call, CATALOGUE)
    shown = facts(call, ALICE, target, None, None, NOW, switches=("connector:open", "principal:bob"))
    assert json.loads(document(shown))["switches"] == ["connector:open", "principal:bob"]


def test_a_direct_call() -> None:
    assert asked({"id": "7", "region": "eu"}, connector="crm", operation="get", session="s") == {
        "version": 1,
        "tenant": "acme",
        "principal": {"id": "alice", "kind": "agent", "roles": ["reader"], "labels": {"team": "support"}},
        "session": "s",
        "surface": "access",
        "action": "execute",
        "effect": "read",
        "plane": None,
        "connector": {"id": "crm", "kind": "http", "labels": {}},
        "operation": {"id": "get", "labels": {"class": "public"}},
        "parameters": {"id": "7", "region": "eu"},
        "request": {
            "scheme": "https",
            "method": "GET",
            "host": "api.example",
            "port": 443,
            "path": "/v1/items/7",
            "query": "",
            "headers": {"x-region": "eu"},
        },
        "destination": None,
        "usage": {"over": []},
        "switches": [],
        "findings": [],
        "time": {"minute": 13, "hour": 22, "weekday": 1, "date": "2023-11-14"},
    }


@pytest.mark.parametrize(
    "made",
    [
        asked(plane="knowledge", action="query"),
        asked(plane="knowledge", action="query", offered=True),
        asked({"item": None}, connector="crm", operation="add"),
    ],
)
def test_every_key_is_always_there(made: dict[str, Any]) -> None:
    assert set(made) == set(PolicyInput.__struct_fields__)


def test_an_offer_is_asked_without_a_request() -> None:
    made = asked(plane="knowledge", action="query", offered=True)
    assert made["request"] is None
    assert made["parameters"] is None
    assert made["plane"] == "knowledge"


def test_only_chosen_headers_are_shown() -> None:
    made = asked({"item": 1}, connector="crm", operation="add")
    assert made["request"]["headers"] == {}


def test_a_resolved_destination_is_shown() -> None:
    call = Call(id="c", surface="access", action="execute", connector="crm", operation="watch")
    where = DestinationFacts("api.example", 443, ("93.184.216.34",))
    target = select(call, CATALOGUE)
    rendered = validate(None, target.operation)
    made = json.loads(document(facts(call, ALICE, target, None, rendered, NOW, where, (Finding("f", "m"),))))
    assert made["destination"] == {"host": "api.example", "port": 443, "addresses": ["93.184.216.34"]}
    assert made["findings"] == [{"code": "f", "message": "m"}]


def test_one_spelling_for_one_input() -> None:
    call = Call(id="c", surface="access", action="execute", connector="crm", operation="add")
    target = select(call, CATALOGUE)
    rendered = validate({}, target.operation)
    spellings = {
        document(facts(call, ALICE, target, parameters, rendered, NOW))
        for parameters in ({"a": 1, "b": {"x": 1, "y": 2}}, {"b": {"y": 2, "x": 1}, "a": 1})
    }
    assert len(spellings) == 1


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2025, 12, 31, 0, 0, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, tzinfo=UTC),
    ],
)
def test_time_is_coarse_and_utc(moment: datetime) -> None:
    now = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    expected = {
        "minute": moment.minute,
        "hour": moment.hour,
        "weekday": moment.weekday(),
        "date": moment.date().isoformat(),
    }
    assert asked(connector="crm", operation="watch", now=now)["time"] == expected
