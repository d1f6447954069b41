"""The engine beside an OPA server: when it may decide, and that everything odd is a deny in time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.policy.server_connection import ANSWER_LIMIT, ServerConnection, ServerSettings
from sidecar.errors import Unavailable
from sidecar.model.decision import Verdict
from tests.fakes.observer import RecordingObserver
from tests.fakes.opa_script import ALLOW, HANG, PROVENANCE, RESET, REVISION, ScriptedOpa, reply

BUDGET = 0.1  # seconds, the default
PROMPT = 1.0  # seconds; other tests run beside on the same cores
READS = "package sidecar.authz\n\ndecision := {} if input.destination.port == 443"
WRITTEN = b'{"a" : 1.50, "b":"\\u00e9"}'


class House(NamedTuple):
    opa: ScriptedOpa
    engine: ServerEngine
    observer: RecordingObserver


@pytest.fixture
async def house() -> AsyncIterator[House]:
    observer = RecordingObserver()
    async with ScriptedOpa() as opa:
        engine = ServerEngine(ServerConnection(ServerSettings(opa.url)), BUDGET, 600.0, observer, cached=True)
        await engine.look()
        yield House(opa, engine, observer)
        await engine.close()


def state(engine: ServerEngine) -> tuple[str | None, bool, bool]:
    """The revision, whether it reads the destination, and whether decisions may be kept."""
    return engine.revision, engine.reads_destination, engine.reads is not None


async def refused(engine: ServerEngine) -> str:
    """The reason of a deny, which comes within the budget."""
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(b"{}")
    assert time.monotonic() - started < BUDGET + PROMPT
    assert caught.value.code == "policy_unavailable"
    return caught.value.detail


async def test_the_inputs_own_bytes_are_asked_and_the_answers_own_come_back(house: House) -> None:
    verdict = await house.engine.evaluate(WRITTEN)
    assert verdict == Verdict(REVISION, json.dumps(ALLOW).encode())
    path, head, body = house.opa.asked[-1]
    assert (path, body) == (house.opa.decision, b'{"input":' + WRITTEN + b"}")
    assert b"?provenance=true" in head and b"content-type: application/json" in head.lower()


P01 = {
    "500": (reply({"code": "internal_error", "message": "x"}, 500), "policy failed"),
    "503": (reply({}, 503), "policy failed"),
    "401": (reply({}, 401), "refuses the sidecar"),
    "403": (reply({}, 403), "refuses the sidecar"),
    "404": (reply({}, 404), "answers 404"),
    "302": (b"HTTP/1.1 302 X\r\nLocation: /v1/status\r\nContent-Length: 0\r\n\r\n", "answers 302"),
    "204": (b"HTTP/1.1 204 X\r\n\r\n", "answers 204"),
    "wrong type": (reply({"result": ALLOW, "provenance": PROVENANCE}, content_type="text/html"), "not JSON"),
    "garbage": (b"\x00\x01\x02 garbage\r\n\r\n", "broken off, or not HTTP"),
    "half JSON": (reply(b'{"result": {"allow": true'), "not of the shape"),
    "no revision": (reply({"result": ALLOW}), "names no revision"),
    "empty revision": (reply({"result": ALLOW, "provenance": {"bundles": {"a": {"revision": ""}}}}), "no revision"),
    "partial body": (reply(b'{"result": {"allow"', length=500), "broken off"),
    "reset": (RESET, "cannot decide"),
    "too large": (reply(b'"' + b"x" * ANSWER_LIMIT + b'"'), "larger than"),
    "slow": (HANG, "in time"),
}


@pytest.mark.parametrize("fault", P01)
async def test_p01_anything_but_a_whole_answer_is_a_deny_with_its_reason(house: House, fault: str) -> None:
    good = house.opa.script[house.opa.decision]
    house.opa.script[house.opa.decision], why = P01[fault]
    assert why in await refused(house.engine)
    house.opa.script[house.opa.decision] = good
    assert (await house.engine.evaluate(b"{}")).revision == REVISION  # recovers by itself


async def test_an_undefined_result_is_no_answer_and_null_is_an_odd_one(house: House) -> None:
    house.opa.script[house.opa.decision] = reply({"provenance": PROVENANCE})
    assert await house.engine.evaluate(b"{}") == Verdict(REVISION, None)
    house.opa.script[house.opa.decision] = reply({"result": None, "provenance": PROVENANCE})
    assert await house.engine.evaluate(b"{}") == Verdict(REVISION, b"null")


async def test_what_the_server_says_of_its_error_is_for_the_operator_only(house: House) -> None:
    said = {
        "code": "internal_error",
        "message": "m",
        "errors": [{"code": "eval_conflict_error", "message": "secret"}],
    }
    house.opa.script[house.opa.decision] = reply(said, 500)
    assert "secret" not in await refused(house.engine)
    assert "secret" in house.observer.named("policy_error")[0]["message"]


NOT_READY = {
    "health": ("/health", reply({}, 500), "health"),
    "bundle error": (
        "/v1/status",
        reply({"result": {"bundles": {"a": {"last_successful_activation": "2026-01-01T00:00:00Z", "code": "e"}}}}),
        "bundle a failed",
    ),
    "too old": (
        "/v1/status",
        reply({"result": {"bundles": {"a": {"last_successful_activation": "2001-01-01T00:00:00Z"}}}}),
        "older than 600 seconds",
    ),
    "no status": ("/v1/status", reply({"message": "status plugin not enabled"}, 500), "status.console"),
    "no revision": ("/v1/data/sidecar/authz/revision", reply({"provenance": {}}), "sidecar policy push"),
    "revision refused": ("/v1/data/sidecar/authz/revision", reply({}, 500), "answers 500"),
    "garbage": ("/health", b"garbage\r\n\r\n", "not HTTP"),
}


@pytest.mark.parametrize("fault", NOT_READY)
async def test_while_the_server_is_not_ready_every_call_is_denied_unasked(house: House, fault: str) -> None:
    path, said, why = NOT_READY[fault]
    good, house.opa.script[path] = house.opa.script[path], said
    await house.engine.look()
    asked = len(house.opa.asked)
    assert why in await refused(house.engine)
    with pytest.raises(Unavailable, match=why):
        await house.engine.evaluate_all([b"{}"])
    assert len(house.opa.asked) == asked
    assert state(house.engine) == (None, False, False) and why in (house.engine.problem or "")
    house.opa.script[path] = good
    await house.engine.look()
    assert state(house.engine) == (REVISION, False, True)
    assert (await house.engine.evaluate(b"{}")).answer is not None
    assert [event["outcome"] for event in house.observer.named("policy_server")] == ["ready", "failed", "ready"]


async def test_p01_a_look_that_fails_in_no_foreseen_way_denies_what_was_good_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise OverflowError

    await house.engine.evaluate(b"{}")
    monkeypatch.setattr("sidecar.adapters.policy.server_answers.check_status", odd)
    await house.engine.look()
    assert "cannot be understood" in await refused(house.engine)
    assert house.observer.named("failure") == [{"task": "policy server", "error": "OverflowError"}]
    monkeypatch.undo()
    await house.engine.look()
    await house.engine.evaluate(b"{}")


async def test_before_the_first_good_look_every_call_is_denied() -> None:
    async with ScriptedOpa() as opa:
        engine = ServerEngine(ServerConnection(ServerSettings(opa.url)), BUDGET, 600.0, RecordingObserver())
        assert state(engine) == (None, True, False)
        assert "not asked yet" in await refused(engine)
        assert opa.asked == []
        await engine.load()
        assert state(engine) == (REVISION, False, False)
        await engine.close()


async def test_a_socket_that_is_not_there_is_told_and_taken_when_it_comes(house: House, tmp_path: Path) -> None:
    away = house.opa.socket.rename(house.opa.folder / "away")
    await house.engine.look()
    assert "socket is not there" in await refused(house.engine)
    away.rename(house.opa.socket)
    await house.engine.look()
    assert house.engine.problem is None


async def test_a_socket_that_everybody_may_write_to_is_not_used(house: House) -> None:
    house.opa.socket.chmod(0o666)
    await house.engine.look()
    assert "--unix-socket-perm 600" in await refused(house.engine)


async def test_what_a_policy_reads_is_known_by_its_own_text(house: House) -> None:
    assert state(house.engine) == (REVISION, False, True)
    house.opa.revise("two", READS)
    await house.engine.look()
    assert state(house.engine) == ("two", True, True)
    assert house.engine.reads is not None
    assert house.engine.reads.revision == "two" and ("input", "destination", "port") in house.engine.reads.paths
    loads = house.observer.named("policy_load")
    assert [load["revision"] for load in loads] == [REVISION, "two"]


@pytest.mark.parametrize("rego", ["no rego", 'package a\n\nx := http.send({"method": "get", "url": "http://a"})'])
async def test_a_policy_that_cannot_be_analysed_is_taken_to_read_everything(house: House, rego: str) -> None:
    house.opa.revise("two", rego)
    await house.engine.look()
    assert house.engine.revision == "two"
    assert house.engine.reads_destination and house.engine.reads is None
    listed = [path for path, _, _ in house.opa.asked].count("/v1/policies")
    await house.engine.look()  # it stays so: nothing is read again
    assert [path for path, _, _ in house.opa.asked].count("/v1/policies") == listed


async def test_policies_that_may_not_be_read_are_taken_to_read_everything(house: House) -> None:
    house.opa.revise("two")
    house.opa.script["/v1/policies"] = reply({}, 403)
    await house.engine.look()
    assert house.engine.revision == "two" and house.engine.reads_destination


async def test_the_same_facts_are_the_same_object_until_another_revision(house: House) -> None:
    reads = house.engine.reads
    await house.engine.look()
    assert reads is not None and house.engine.reads is reads


async def test_decisions_are_kept_only_where_the_configuration_says_so() -> None:
    async with ScriptedOpa() as opa:
        engine = ServerEngine(ServerConnection(ServerSettings(opa.url)), BUDGET, 600.0, RecordingObserver())
        await engine.look()
        assert engine.reads is None and not engine.reads_destination
        await engine.close()


async def test_p07_decisions_are_kept_for_a_second_after_a_good_look_and_no_longer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that no longer answers looks may have another policy by now, though it answered a moment ago."""
    began = time.monotonic()
    now = began
    monkeypatch.setattr("sidecar.adapters.policy.server.time", SimpleNamespace(monotonic=lambda: now))
    await house.engine.look()
    for later, kept in ((0.9, True), (1.0, False)):
        now = began + later
        assert state(house.engine) == (REVISION, False, kept)
    await house.engine.look()
    assert state(house.engine) == (REVISION, False, True)


async def test_a_policy_that_begins_to_read_the_destination_between_two_looks_denies(house: House) -> None:
    """The caller was told that the destination does not matter, so it would not have asked again."""
    house.opa.revise("two", READS)
    assert "was replaced while this call was decided" in await refused(house.engine)
    assert house.engine.reads_destination
    assert (await house.engine.evaluate(b"{}")).revision == "two"


async def test_another_policy_that_does_not_read_the_destination_decides_at_once(house: House) -> None:
    house.opa.revise("two")
    assert (await house.engine.evaluate(b"{}")).revision == "two"
    assert house.engine.revision == "two"


async def test_many_inputs_by_two_revisions_are_asked_again_and_then_denied(house: House) -> None:
    documents = [b"%d" % number for number in range(20)]
    assert {verdict.revision for verdict in await house.engine.evaluate_all(documents)} == {REVISION}
    house.opa.revise("two", READS)
    await house.engine.look()
    named = [{"bundles": {"authz": {"revision": name}}} for name in ("one", "two")]
    house.opa.script[house.opa.decision] = cycle(reply({"result": ALLOW, "provenance": one}) for one in named)
    with pytest.raises(Unavailable, match="keeps changing"):
        await house.engine.evaluate_all(documents)


async def test_looks_that_overlap_are_one(house: House) -> None:
    asked = len(house.opa.asked)
    await asyncio.gather(*(house.engine.look() for _ in range(10)))
    assert [path for path, _, _ in house.opa.asked[asked:]].count("/health") == 1


async def test_a_look_never_takes_longer_than_its_bound(house: House) -> None:
    house.opa.script["/health"] = HANG
    started = time.monotonic()
    await house.engine.look()
    assert time.monotonic() - started < 2.0 + PROMPT
    assert "in time" in await refused(house.engine)


async def test_after_the_end_nothing_is_asked(house: House) -> None:
    await house.engine.close()
    asked = len(house.opa.asked)
    assert "shutting down" in await refused(house.engine)
    assert len(house.opa.asked) == asked
