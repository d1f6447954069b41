"""One JSON line for everything worth a line, on standard output.

Every line begins with ``time`` (RFC 3339, UTC), ``level`` and ``event``. The canonical line of a decision is
``event: call``; its fields, always by these names and null where unknown:

================= =================================================================================
call_id           of the call
evidence_id       of its outcome or refusal; null where evidence could not be made durable
surface, action   where it came in, and what was asked
tenant            of the sidecar
principal         who asked, once known
plane, connector, ids of the configuration, once known
operation
code              ``allowed`` or the reason code of the refusal
status            the upstream's, or the refusal's
policy_revision   which policy decided
laps              microseconds by step: total, policy, evidence, upstream; and ``attempts``
traceparent       the caller's W3C trace context
================= =================================================================================

Other events carry the fields of their own (see ``metrics``). What the ``logging`` module is told comes out in the
same form as ``event: log`` with ``logger``, ``message`` and, for an exception, ``error`` (its class) and ``trace``
(places only): the text of another library's exception may quote what it choked on, so only our own have ``detail``.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.redaction import redact, redact_line
from sidecar.errors import CODES, SidecarError
from sidecar.rules.limits import CLOSED

CALL_FIELDS: Final = frozenset(
    {
        *("call_id", "evidence_id", "surface", "action", "tenant", "principal", "plane", "connector", "operation"),
        *("code", "status", "policy_revision", "laps", "traceparent"),
    }
)
_COUNTED_ONLY: Final = frozenset(
    {"evidence", "evidence_commit", "decisions", "connections", "loop", "registry_state"}
)
_LEVELS: Final = {
    "call": "info",
    "failure": "error",
    "credential_alarm": "error",
    "policy_rejected": "error",
    "policy_error": "error",
    "policy_timeout": "warning",
    "policy_slow": "warning",
    "breaker": "warning",
    "credential": "warning",  # one that was resolved has no line
    "evidence_repaired": "warning",
    "evidence_recovered": "warning",
    "evidence_clock_back": "warning",
}
_FAILED: Final = ("failed", "misconfigured")
_FRAMES: Final = 20
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class JsonLogObserver:
    """An ``Observer`` that writes lines: none for events that only count, one for a circuit that changes state."""

    __slots__ = ("_circuits", "_lines")

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines
        self._circuits: dict[str, str] = {}

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """Queue the event's line. Never raises, never waits."""
        try:
            if event == "call" or self._is_news(event, fields):
                self._lines.put(render(event, _level(event, fields), fields))
        except Exception as error:  # the port's promise: a wrong field must not fail the call that is observed
            self._lines.put(render("failure", "error", {"error": type(error).__name__, "observing": event}))

    def _is_news(self, event: str, fields: dict[str, Any]) -> bool:
        if event == "breaker":
            connector, state = fields["connector"], fields["state"]
            if state is None:
                self._circuits.pop(connector, None)
                return False
            before = self._circuits.get(connector, CLOSED)
            self._circuits[connector] = state
            return before != str(state)
        return event not in _COUNTED_ONLY and fields.get("outcome") != "resolved"


def _level(event: str, fields: dict[str, Any]) -> str:
    level = _LEVELS.get(event)
    if level is not None:
        return level
    outcome = fields.get("outcome")
    return "error" if event.startswith("evidence_") or outcome in _FAILED or outcome in CODES else "info"


def render(event: str, level: str, fields: dict[str, Any]) -> bytes:
    """One line. The fields of a canonical ``call`` line are plain ids and numbers; any others are searched."""
    head = {"time": datetime.now(UTC), "level": level, "event": event}
    if event == "call" and fields.keys() <= CALL_FIELDS:
        try:
            line = orjson.dumps({**head, **fields}, redact, _OPTIONS)
            return redact_line(line) if b"scp_" in line or b"earer " in line else line
        except TypeError:  # a lone surrogate, or an integer beyond 64 bits
            pass
    return redact_line(orjson.dumps({**head, **redact(fields)}, option=_OPTIONS))


def _render_record(record: logging.LogRecord) -> bytes:
    message = record.getMessage()
    if record.name == "asyncio":
        message = message.partition("\n")[0]  # below it are representations of tasks, with their exceptions' texts
    fields: dict[str, Any] = {"logger": record.name, "message": message}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        fields["error"] = type(error).__name__
        fields["detail"] = str(error) if isinstance(error, SidecarError) else None
        fields["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return render("log", record.levelname.lower(), fields)


class JsonLogHandler(logging.Handler):
    """Puts what ``logging`` is told into the same lines."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line; a record that cannot be rendered is named, never raised."""
        try:
            line = _render_record(record)
        except Exception as error:  # a wrong format string somewhere must not stop what logged it
            line = render("log", "error", {"logger": record.name, "error": type(error).__name__})
        self._lines.put(line)


def configure_logging(lines: LineWriter, level: int = logging.WARNING) -> None:
    """Send the whole process's ``logging`` and ``warnings`` from ``level`` on to ``lines``, and nowhere else."""
    logging.basicConfig(handlers=[JsonLogHandler(lines)], level=level, force=True)
    logging.captureWarnings(True)
