"""The engine decides as OPA does, and denies where other readings of Rego allow (INV-3)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles
from sidecar.adapters.policy.library import Room, Status, library
from sidecar.errors import Unavailable
from sidecar.model.decision import Verdict
from tests.fakes.observer import RecordingObserver

ANSWER = 'decision := {"allow": allow, "reasons": [], "obligations": {}}\n'


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    yield made
    made.close()


def load(engine: EmbeddedEngine, rego: str, data: dict[str, Any] | None = None) -> None:
    engine.load(PolicyFiles({"policy.rego": "package sidecar.authz\n" + rego}, data or {}))


def allows(verdict: Verdict) -> bool:
    return verdict.answer is not None and json.loads(verdict.answer)["allow"] is True


async def test_inv_3_not_over_an_absent_user_denies(engine: EmbeddedEngine) -> None:
    """`not input.user in blocked` reads the user outside the negation: absent, the rule is undefined.

    Engines that negate the whole expression allow here.
    """
    load(
        engine,
        ANSWER + 'default allow := false\nblocked := {"mallory"}\nallow if not input.user in blocked\n',
    )
    assert allows(await engine.evaluate(b'{"user": "alice"}'))
    assert not allows(await engine.evaluate(b'{"user": "mallory"}'))
    assert not allows(await engine.evaluate(b"{}"))


async def test_inv_3_an_undefined_decision_is_no_answer(engine: EmbeddedEngine) -> None:
    load(engine, 'decision := {"allow": true} if input.tenant == "acme"')
    assert (await engine.evaluate(b'{"tenant": "globex"}')).answer is None


async def test_inv_3_a_policy_without_the_rule_gives_no_answer(engine: EmbeddedEngine) -> None:
    load(engine, "allow := true")
    assert (await engine.evaluate(b"{}")).answer is None


async def test_inv_3_no_policy_at_all_is_unavailable(engine: EmbeddedEngine) -> None:
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(b"{}")
    assert caught.value.code == "policy_unavailable"


async def test_inv_3_conflicting_rules_are_unavailable(engine: EmbeddedEngine) -> None:
    load(engine, "decision := 1 if input.a\ndecision := 2 if input.b")
    with pytest.raises(Unavailable):
        await engine.evaluate(b'{"a": true, "b": true}')


async def test_inv_3_a_builtin_that_fails_does_not_allow(engine: EmbeddedEngine) -> None:
    load(engine, ANSWER + "default allow := false\nallow if to_number(input.x) >= 0\nallow if 1 / input.y > 0")
    assert allows(await engine.evaluate(b'{"x": "1", "y": 0}'))
    assert not allows(await engine.evaluate(b'{"x": "one", "y": 0}'))


@pytest.mark.parametrize(
    "document",
    [
        *(
            b"",
            b" ",
            b"{",
            b"nul",
            b"{} {}",
            b"{}x",
            b"[1,]",
            b'{"a":}',
            b'{"a" 1}',
            b'{"a":1,}',
            b"{a:1}",
            b"\x00",
            b"'a'",
        ),
        *(
            b'"\xff"',
            b'"\x01"',
            b'"\\x"',
            b'"\\u12"',
            b'"',
            b"01",
            b"1.",
            b".5",
            b"+1",
            b"1e",
            b"--1",
            b"NaN",
            b"tru",
        ),
    ],
)
async def test_inv_3_input_that_is_not_json_is_unavailable(engine: EmbeddedEngine, document: bytes) -> None:
    load(engine, "decision := true")
    with pytest.raises(Unavailable):
        await engine.evaluate(document)


async def test_inv_3_a_depth_bomb_is_refused_and_the_engine_lives(engine: EmbeddedEngine) -> None:
    load(engine, "decision := true")
    assert (await engine.evaluate(b'{"x":' + b"[" * 127 + b"]" * 127 + b"}")).answer == b"true"
    for bomb in (b"[" * 129, b'{"a":' * 1_000_000, b"[" * 4_000_000, b'{"x":' + b"[" * 129 + b"]" * 129 + b"}"):
        with pytest.raises(Unavailable):
            await engine.evaluate(bomb)
    assert (await engine.evaluate(b"{}")).answer == b"true"


async def test_inv_3_an_input_too_large_is_refused(engine: EmbeddedEngine) -> None:
    load(engine, "decision := true")
    with pytest.raises(Unavailable):
        await engine.evaluate(b'"' + b"x" * (4 << 20) + b'"')


async def test_inv_3_a_number_bomb_is_refused(engine: EmbeddedEngine) -> None:
    load(engine, "decision := input.x + 1")
    assert (await engine.evaluate(b'{"x":' + b"9" * 128 + b"}")).answer == b"1" + b"0" * 128
    for bomb in (b"9" * 129, b"9" * 1_000_000, b"1e999999999", b"0." + b"1" * 1000):
        with pytest.raises(Unavailable):
            await engine.evaluate(b'{"x":' + bomb + b"}")


async def test_p01_reading_a_large_input_keeps_to_the_budget() -> None:
    engine = EmbeddedEngine(0.005, 0.1, RecordingObserver())
    load(engine, "decision := true")
    started = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        await engine.evaluate(b"[" + b"[]," * 1_300_000 + b"1]")
    assert time.monotonic() - started < 1
    engine.close()


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1, -2, 3.5, 1e3, 12345678901234567890, true, false, null, "", "x"]}, "": {}, "é": "日本"}',
        r'{"escapes": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}',
        '{"a": 1, "a": 2}',
        " [ 0 , -0 , 0.10 , 1E+2 , [ ] , { } ] ",
        '"plain"',
        "-0.5",
    ],
)
async def test_the_input_is_read_as_json_says(engine: EmbeddedEngine, text: str) -> None:
    load(engine, "decision := input")
    answer = (await engine.evaluate(text.encode())).answer
    assert answer is not None
    assert json.loads(answer) == json.loads(text)


async def test_data_is_what_the_files_say(engine: EmbeddedEngine) -> None:
    data = {"grants": {"a": [1, 2.5, "x", None, True, {"n": 12345678901234567890}]}}
    load(engine, "decision := data.grants", data)
    answer = (await engine.evaluate(b"{}")).answer
    assert answer is not None
    assert json.loads(answer) == data["grants"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=30,
)


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_any_input_comes_back_unchanged(value: Any, ascii_only: bool, indent: int | None) -> None:
    handle = _echo()
    room = Room()
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    status, size = library().evaluate(handle, document, 1_000_000, room)
    assert status == Status.ANSWERED
    assert json.loads(room.view[:size].tobytes()) == value


@given(
    st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()),
    st.integers(0, 200),
    st.binary(max_size=2),
)
def test_inv_3_no_input_is_read_that_json_would_refuse(document: bytes, at: int, change: bytes) -> None:
    document = document[:at] + change + document[at + 1 :]
    status, _ = library().evaluate(_echo(), document, 1_000_000, Room())
    try:
        json.loads(document.decode(), parse_constant=lambda word: int(word))
    except ValueError:
        assert status == Status.FAILED
    else:
        assert status == Status.ANSWERED


@cache
def _echo() -> int:
    source = {"modules": {"echo.rego": "package sidecar.authz\ndecision := input"}, "data": {}}
    return library().load(json.dumps(source).encode()).handle
