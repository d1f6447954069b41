"""A policy is not a second way out: no network, no environment, no files."""

from __future__ import annotations

import json

import pytest

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles
from sidecar.adapters.policy.library import Room, Status, library
from sidecar.errors import Misconfigured
from tests.fakes.observer import RecordingObserver

WAYS_OUT = {
    "http.send": 'http.send({"method": "get", "url": "http://127.0.0.1:1"})',
    "net.lookup_ip_addr": 'net.lookup_ip_addr("example.com")',
    "opa.runtime": "opa.runtime()",
    # both follow "$ref": "file:///..." of a schema, and a schema may come from the input
    "json.match_schema": 'json.match_schema({}, {"$ref": "file:///etc/passwd"})',
    "json.verify_schema": 'json.verify_schema({"$ref": "file:///etc/passwd"})',
}


@pytest.mark.parametrize("name", WAYS_OUT)
def test_a_way_out_is_refused_at_load_with_file_and_line(name: str) -> None:
    engine = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    rego = f"package sidecar.authz\n\nimport rego.v1\n\ndecision if {{\n\t{WAYS_OUT[name]}\n}}\n"
    with pytest.raises(Misconfigured) as caught:
        engine.load(PolicyFiles({"folder/policy.rego": rego}))
    messages = [reason.message for reason in caught.value.reasons]
    assert messages == [f"folder/policy.rego:6: undefined function {name}"]
    assert engine.revision is None


@pytest.mark.parametrize(
    "rule",
    [
        "f := http.send",
        "decision if true with json.marshal as http.send",
        "decision := opa.runtime().env",
        'decision if walk(http.send({"method": "get", "url": input.url}), x)',
    ],
)
def test_a_way_out_is_not_reached_by_a_detour(rule: str) -> None:
    source = {"modules": {"p.rego": f"package sidecar.authz\n{rule}\n"}, "data": {}}
    with pytest.raises(Misconfigured, match=r"p\.rego:2"):
        library().load(json.dumps(source).encode())


def test_conformance_runs_have_all_of_opa() -> None:
    source = {
        "modules": {"p.rego": "package conformance\nanswer := is_object(opa.runtime())"},
        "data": {},
        "conformance": True,
        "query": "data.conformance.answer",
    }
    loaded = library().load(json.dumps(source).encode())
    room = Room()
    status, size = library().evaluate(loaded.handle, b"{}", 1_000_000, room)
    assert (status, room.view[:size].tobytes()) == (Status.ANSWERED, b"true")


def test_another_query_is_for_conformance_runs_only() -> None:
    source = {"modules": {"p.rego": "package other\nanswer := true"}, "data": {}, "query": "data.other.answer"}
    loaded = library().load(json.dumps(source).encode())
    assert library().evaluate(loaded.handle, b"{}", 1_000_000, Room())[0] == Status.UNDEFINED
