"""OPA's own evaluation cases, run against the embedded engine.

The cases are those that OPA's module carries for its own tests; the program ``opacases`` prints them, this repository
holds none of them. What a case wants is compared as OPA's own test does it: results as sets of bindings, values as
JSON, numbers by value, errors by their code and a part of their text. They run on a load that has every builtin,
which no sidecar uses.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.adapters.policy.library import Room, Status, library
from sidecar.errors import Misconfigured
from tests.conformance.values import parse, plain
from tests.fixtures.programs import program

PROGRAM: Final = "opacases"
_MICROSECONDS: Final = 20_000_000
_ROOM: Final = 1 << 20


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One case. The answer is the value of ``variable`` in the one result there may be, or a list of all results."""

    name: str
    modules: dict[str, str]
    query: str
    variable: str
    data: dict[str, Any] | None
    input: Any
    strict: bool  # an error of a builtin ends the evaluation
    sorted: bool  # lists in results count as sets
    internal: bool  # variables that the compiler made do not count
    results: list[dict[str, Any]] | None
    error_code: str | None
    error_text: str | None


# Cases that the engine is not meant to pass, and why.
NOT_PASSED: Final = {
    "baseandvirtualdocs/base/virtual: conflicts": "A sidecar refuses to load rules and data for one path.",
    "time/time caching": "It needs test.sleep, a builtin of OPA's own tests that no OPA has.",
}


class Outcome(NamedTuple):
    """``why`` is None where the case passed."""

    name: str
    why: str | None


def read() -> list[Case]:
    """Every case. Raises ``subprocess.CalledProcessError``."""
    printed = subprocess.run([program(PROGRAM)], capture_output=True, check=True).stdout
    return msgspec.json.decode(b"[" + b",".join(printed.splitlines()) + b"]", type=list[Case])


def run(case: Case) -> Outcome:
    """Load and evaluate one case."""
    source = {
        "modules": case.modules,
        "data": case.data or {},
        "conformance": True,
        "query": case.query,
        "strict": case.strict,
        "no_input": case.input is None,
    }
    engine, room = library(), Room(_ROOM)
    try:
        handle = engine.load(json.dumps(source).encode()).handle
    except Misconfigured as error:
        return Outcome(case.name, f"does not load: {error}")
    try:
        status, size = engine.evaluate(handle, json.dumps(case.input).encode(), _MICROSECONDS, room)
    finally:
        engine.release(handle)
    if status in {Status.TIMEOUT, Status.TOO_SMALL}:
        return Outcome(case.name, Status(status).name)
    text = room.view[:size].tobytes().decode()
    return Outcome(case.name, _failure(case, text) if status == Status.FAILED else _difference(case, status, text))


def _failure(case: Case, text: str) -> str | None:
    if case.error_code is None and case.error_text is None:
        return f"failed: {text}"
    if case.error_code is not None and f"{case.error_code}: " not in text:
        return f"wanted the error {case.error_code}, got: {text}"
    if case.error_text is not None and case.error_text not in text:
        return f"wanted an error that says {case.error_text!r}, got: {text}"
    return None


def _difference(case: Case, status: int, text: str) -> str | None:
    if case.results is None:
        return f"wanted the error {case.error_code or case.error_text}, got: {text or 'undefined'}"
    got: list[dict[str, Any]] = []
    if status == Status.ANSWERED:
        answer = parse(text)
        got = [{case.variable: answer}] if case.variable else answer
    if case.internal:
        got = [{name: value for name, value in one.items() if not name.startswith("__localq")} for one in got]
    if _comparable(got, case) == _comparable(case.results, case):
        return None
    return f"wanted {json.dumps(case.results)}, got: {text or 'undefined'}"


def _comparable(results: list[dict[str, Any]], case: Case) -> Any:
    """Results as a value that equals another exactly where OPA calls them equal."""
    made = [{name: plain(value) for name, value in one.items()} for one in results]
    if case.sorted:
        made = [{name: (kind, *sorted(items, key=repr)) for name, (kind, *items) in one.items()} for one in made]
    return frozenset(frozenset(one.items()) for one in made)
