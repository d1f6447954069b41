"""What every observer promises: it never fails, never waits and never shows a secret."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pytest
from prometheus_client import generate_latest

from sidecar.adapters.observation.fanout import Observers
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import JsonLogObserver
from sidecar.adapters.observation.metrics import MetricsObserver
from sidecar.model.secret import Secret
from sidecar.ports import Observer
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver

CANARY = "scp_agent_" + "k3y" * 12
CALL: dict[str, Any] = {
    "call_id": "c1",
    "surface": "access",
    "action": "query",
    "principal": "agent",
    "plane": None,
    "connector": None,
    "operation": None,
    "code": "denied",
    "evidence_id": None,
    "policy_revision": None,
    "status": None,
    "laps": {},
}


class Shown(Protocol):
    def __call__(self) -> bytes:
        """Everything that a person could read of what was observed."""


class Subject(NamedTuple):
    observer: Observer
    shown: Shown


@pytest.fixture(params=["recording", "metrics", "logs", "several"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    metrics, recording = MetricsObserver(HeldClock()), RecordingObserver()
    with tempfile.TemporaryFile() as file:
        lines = LineWriter(file.fileno())
        logs = JsonLogObserver(lines)

        def written() -> bytes:
            lines.close()
            return os.pread(file.fileno(), 1 << 20, 0)

        subjects = {
            "recording": Subject(recording, lambda: repr(recording.events).encode()),
            "metrics": Subject(metrics, lambda: generate_latest(metrics.registry)),
            "logs": Subject(logs, written),
            "several": Subject(
                Observers(metrics, logs, recording),
                lambda: written() + generate_latest(metrics.registry) + repr(recording.events).encode(),
            ),
        }
        yield subjects[request.param]
        lines.close()


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("call", CALL),
        ("call", {}),
        ("call", {**CALL, "laps": None}),
        ("call", {**CALL, "status": 1 << 80, "plane": "\ud800"}),
        ("call", {**CALL, "connector": object(), "operation": b"\xff"}),
        ("evidence", {"size": "large", "writable": None}),
        ("evidence_commit", {"seconds": "soon", "records": None}),
        ("breaker", {"connector": [], "state": {}}),
        ("policy_load", {}),
        ("breaker", {"connector": "c"}),
        ("never heard of", {"x": {"y": [1, {2: object()}]}}),
    ],
)
def test_it_never_fails(subject: Subject, event: str, fields: dict[str, Any]) -> None:
    subject.observer.observe(event, fields)
    subject.observer.observe("call", CALL)
    assert b"denied" in subject.shown()


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("call", {**CALL, "principal": Secret(CANARY)}),
        ("failure", {"error": "ValueError", "token": Secret(CANARY)}),
        ("reload", {"outcome": "failed", "nested": {"value": [Secret(CANARY)]}}),
    ],
)
def test_inv_5_an_observer_shows_no_secret(subject: Subject, event: str, fields: dict[str, Any]) -> None:
    subject.observer.observe(event, fields)
    assert CANARY.encode() not in subject.shown()


def test_fields_are_not_changed(subject: Subject) -> None:
    fields = {**CALL, "laps": {"total": 5}}
    subject.observer.observe("call", fields)
    assert fields == {**CALL, "laps": {"total": 5}}
