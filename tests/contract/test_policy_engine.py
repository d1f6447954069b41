"""What every ``PolicyEngine`` does: the embedded engine, a real OPA server however it is reached, and the fake."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest

from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles
from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.policy.server_connection import ServerConnection
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret
from sidecar.ports import PolicyEngine
from tests.fakes.observer import RecordingObserver
from tests.fakes.opa import TOKEN, Opa
from tests.fakes.policy import FakeEngine

# decides by input.case: "allow" and "deny" answer, "fail" fails the engine, everything else is undefined
REGO = """package sidecar.authz

decision := {"allow": true, "reasons": [], "obligations": {}} if input.case == "allow"

decision := {"allow": false, "reasons": [], "obligations": {}} if input.case == "deny"

decision := 1 if input.case == "fail"

decision := 2 if input.case == "fail"
"""


def _rule(document: bytes) -> bytes | None:
    case = json.loads(document)["case"]
    if case == "fail":
        raise ValueError(case)
    if case in {"allow", "deny"}:
        return json.dumps({"allow": case == "allow", "reasons": [], "obligations": {}}).encode()
    return None


Made = AbstractAsyncContextManager[PolicyEngine]


@asynccontextmanager
async def _embedded(loaded: bool) -> AsyncIterator[PolicyEngine]:
    engine = EmbeddedEngine(0.5, 5.0, RecordingObserver())
    if loaded:
        engine.load(PolicyFiles({"case.rego": REGO}))
    yield engine
    engine.close()


@asynccontextmanager
async def _fake(loaded: bool) -> AsyncIterator[PolicyEngine]:
    yield FakeEngine(_rule if loaded else None)


def _server(secure: bool, token: bool) -> Callable[[bool], Made]:
    async def resolve() -> Secret:
        return Secret(TOKEN)

    @asynccontextmanager
    async def made(loaded: bool) -> AsyncIterator[PolicyEngine]:
        with Opa({"case.rego": REGO} if loaded else None, secure=secure, token=token) as opa:
            connection = ServerConnection(opa.settings, resolve if token else None)
            engine = ServerEngine(connection, 5.0, 600.0, RecordingObserver())
            await engine.look()
            yield engine
            await engine.close()

    return made


ENGINES: dict[str, Callable[[bool], Made]] = {
    "embedded": _embedded,
    "fake": _fake,
    "server-socket": _server(secure=False, token=False),
    "server-socket-token": _server(secure=False, token=True),
    "server-mtls-token": _server(secure=True, token=True),
}
Make = Callable[[bool], Awaitable[PolicyEngine]]


@pytest.fixture(params=list(ENGINES.values()), ids=list(ENGINES))
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def build(loaded: bool) -> PolicyEngine:
            made: PolicyEngine = await stack.enter_async_context(request.param(loaded))
            return made

        yield build


def _document(case: str) -> bytes:
    return json.dumps({"case": case}).encode()


async def test_an_answer_comes_back_as_the_policy_gave_it(make: Make) -> None:
    engine = await make(True)
    for case, allow in (("allow", True), ("deny", False)):
        verdict = await engine.evaluate(_document(case))
        assert verdict.answer is not None
        assert json.loads(verdict.answer) == {"allow": allow, "reasons": [], "obligations": {}}


async def test_undefined_is_no_answer(make: Make) -> None:
    assert (await (await make(True)).evaluate(_document("other"))).answer is None


async def test_a_failing_policy_is_unavailable(make: Make) -> None:
    engine = await make(True)
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(_document("fail"))
    assert caught.value.code == "policy_unavailable"
    with pytest.raises(Unavailable):
        await engine.evaluate_all([_document("allow"), _document("fail")])


async def test_without_a_policy_everything_is_unavailable(make: Make) -> None:
    engine = await make(False)
    assert engine.revision is None
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(_document("allow"))
    assert caught.value.code == "policy_unavailable"
    with pytest.raises(Unavailable):
        await engine.evaluate_all([_document("allow")])


async def test_many_inputs_are_decided_in_order_by_one_revision(make: Make) -> None:
    engine = await make(True)
    cases = ["allow", "other", "deny", "allow"]
    verdicts = await engine.evaluate_all([_document(case) for case in cases])
    assert {verdict.revision for verdict in verdicts} == {engine.revision}
    assert [verdict.answer and json.loads(verdict.answer)["allow"] for verdict in verdicts] == [
        True,
        None,
        False,
        True,
    ]
    assert await engine.evaluate_all([]) == []


async def test_every_verdict_names_the_revision(make: Make) -> None:
    engine = await make(True)
    assert engine.revision is not None
    assert not engine.reads_destination
    assert engine.revision.startswith("sha256:")
    assert len(engine.revision) == len("sha256:") + 64
    assert (await engine.evaluate(_document("allow"))).revision == engine.revision
    assert (await engine.evaluate(_document("other"))).revision == engine.revision


async def test_evaluations_may_overlap(make: Make) -> None:
    engine = await make(True)
    cases = ["allow", "deny", "other"] * 50
    verdicts = await asyncio.gather(*(engine.evaluate(_document(case)) for case in cases))
    assert [verdict.answer and json.loads(verdict.answer)["allow"] for verdict in verdicts] == [
        True,
        False,
        None,
    ] * 50
