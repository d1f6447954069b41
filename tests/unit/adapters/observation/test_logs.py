from __future__ import annotations

import asyncio
import gc
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import CALL_FIELDS, JsonLogHandler, JsonLogObserver, configure_logging
from sidecar.errors import Misconfigured
from sidecar.model.secret import Secret

CANARY = "sk-canary-9f8e7d"
CALL: dict[str, Any] = dict.fromkeys(sorted(CALL_FIELDS)) | {
    "call_id": "c1",
    "surface": "access",
    "code": "allowed",
    "status": 200,
    "laps": {"total": 12},
}


class Log:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lines = LineWriter(descriptor)

    def text(self) -> bytes:
        self.lines.close()
        return os.pread(self._descriptor, 1 << 20, 0)

    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    with tempfile.TemporaryFile() as file:
        made = Log(file.fileno())
        yield made
        made.lines.close()


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was: what listens there is the test runner's."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    yield logger
    logging.captureWarnings(False)
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_call_is_one_line_with_the_fixed_names(log: Log) -> None:
    JsonLogObserver(log.lines).observe("call", CALL)
    (record,) = log.records()
    assert list(record)[:3] == ["time", "level", "event"]
    assert set(record) == CALL_FIELDS | {"time", "level", "event"}
    assert (record["level"], record["event"], record["laps"]) == ("info", "call", {"total": 12})
    assert record["time"].endswith("Z")


@pytest.mark.parametrize(
    ("event", "fields", "level"),
    [
        ("policy_load", {"outcome": "loaded"}, "info"),
        ("policy_load", {"outcome": "failed"}, "error"),
        ("credential", {"outcome": "credential_unavailable"}, "warning"),
        ("registry", {"outcome": "registry_unavailable"}, "error"),
        ("registry", {"outcome": "done"}, "info"),
        ("registered", {"outcome": "misconfigured"}, "error"),
        ("breaker", {"connector": "c", "state": "open"}, "warning"),
        ("evidence_full", {"error": "No space left on device"}, "error"),
        ("evidence_recovered", {}, "warning"),
        ("started", {"tenant": "acme"}, "info"),
        ("failure", {"error": "KeyError"}, "error"),
    ],
)
def test_other_events_have_their_level(log: Log, event: str, fields: dict[str, Any], level: str) -> None:
    JsonLogObserver(log.lines).observe(event, fields)
    (record,) = log.records()
    assert (record["event"], record["level"]) == (event, level)
    assert fields.items() <= record.items()


def test_a_circuit_has_a_line_when_its_state_changes(log: Log) -> None:
    observer = JsonLogObserver(log.lines)
    for state in ("closed", "closed", "open", "open", "half_open", "closed", "closed"):
        observer.observe("breaker", {"connector": "c", "state": state})
    assert [record["state"] for record in log.records()] == ["open", "half_open", "closed"]


@pytest.mark.parametrize("event", ["evidence", "evidence_commit", "connections", "loop"])
def test_what_only_counts_has_no_line(log: Log, event: str) -> None:
    JsonLogObserver(log.lines).observe(event, {"seconds": 1.0})
    JsonLogObserver(log.lines).observe("credential", {"outcome": "resolved"})
    assert log.text() == b""


def test_a_line_cannot_be_forged(log: Log) -> None:
    JsonLogObserver(log.lines).observe("call", {**CALL, "traceparent": 'x"}\n{"event":"call","code":"allowed"}'})
    assert len(log.records()) == 1


def test_inv_5_a_log_line_shows_no_secret_by_type_name_or_shape(log: Log) -> None:
    observer = JsonLogObserver(log.lines)
    observer.observe("call", {**CALL, "principal": Secret(CANARY)})
    observer.observe("call", {**CALL, "traceparent": f"scp_agent_{CANARY * 3}"})
    observer.observe("call", {**CALL, "api_key": CANARY})
    observer.observe("failure", {"error": "X", "headers": {"Authorization": CANARY}})
    text = log.text()
    assert len(text.splitlines()) == 4
    assert CANARY.encode() not in text


def test_logging_comes_out_in_the_same_form(log: Log, root: logging.Logger) -> None:
    configure_logging(log.lines)
    logging.getLogger("aiohttp.server").warning("refused %s", "x")
    logging.getLogger("quiet").info("not shown")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("old", DeprecationWarning, "f.py", 1)
    first, second = log.records()
    assert (first["event"], first["level"], first["logger"]) == ("log", "warning", "aiohttp.server")
    assert first["message"] == "refused x"
    assert second["logger"] == "py.warnings"


def test_a111_an_exception_shows_its_places_and_not_its_text(log: Log, root: logging.Logger) -> None:
    configure_logging(log.lines)
    logger = logging.getLogger("x")
    for error in (ValueError(f"invalid header {CANARY}"), Misconfigured("doors.metrics: the port is taken")):
        try:
            raise error
        except Exception:
            logger.exception("failed")
    foreign, ours = log.records()
    assert foreign["error"] == "ValueError"
    assert foreign["detail"] is None
    assert "test_a111" in foreign["trace"][-1]
    assert ours["detail"] == "doors.metrics: the port is taken"
    assert CANARY.encode() not in log.text()


async def test_a111_a_task_nobody_awaited_does_not_show_its_exceptions_text(log: Log, root: logging.Logger) -> None:
    configure_logging(log.lines)

    async def fails() -> None:
        raise ValueError(CANARY)

    task = asyncio.ensure_future(fails())
    await asyncio.wait([task])
    del task
    gc.collect()
    (record,) = log.records()
    assert record["logger"] == "asyncio"
    assert record["error"] == "ValueError"
    assert CANARY.encode() not in log.text()


def test_a_record_that_cannot_be_rendered_is_named(log: Log) -> None:
    logger = logging.Logger("odd")
    logger.addHandler(JsonLogHandler(log.lines))
    logger.warning("%d", "not a number")
    (record,) = log.records()
    assert (record["logger"], record["error"]) == ("odd", "TypeError")
