"""The engine decides as OPA does, and denies where other readings of Rego allow (INV-3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles
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
