"""Rotation without a failed call: who comes with a refused version goes once more with the new one, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.model.call import Outcome
from sidecar.model.credential import Credential, Reference
from sidecar.model.decision import Permit
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.secret import Secret
from tests.fakes.answers import Pieces, answered
from tests.fakes.caller import ScriptedCaller
from tests.fakes.credentials import HeldCredentials
from tests.fakes.parts import ALLOW, SECRET, Stage, allowing, changed, in_flight, set_stage
from tests.fakes.policy import Rule

ADD: dict[str, Any] = {"connector": "crm", "operation": "add", "parameters": {"item": 1}}
CHALLENGE = (b"www-authenticate", b"Bearer")
NEW = "the-second-value-71c5fe0d9a"


def refusing() -> Inbound:
    return answered(b"", 401, [CHALLENGE])


def sent(stage: Stage) -> list[bytes]:
    return [one.headers[b"authorization"] for one in stage.caller.calls]


def rotates(stage: list[Stage], answer: Inbound, value: str = NEW) -> Callable[[Outbound], Inbound]:
    """The upstream takes the old value no more; the store has a new one meanwhile."""

    def step(_: Outbound) -> Inbound:
        stage[0].credentials.put("crm", value)
        return answer

    return step


def rotating(answer: Inbound, *then: Inbound, rule: Rule = ALLOW) -> Stage:
    holder: list[Stage] = []
    stage = set_stage(None, rotates(holder, answer), *then, rule=rule)
    holder.append(stage)
    return stage


async def test_inv_5_a_401_after_a_rotation_is_sent_once_more_with_the_new_version_and_both_are_scrubbed() -> None:
    stage = rotating(refusing(), answered(NEW.encode() + b" " + SECRET.encode()))
    outcome = await stage.handle()
    assert (outcome.status, outcome.body) == (200, b"[REDACTED] [REDACTED]")  # the upstream has seen both
    assert sent(stage) == [b"Bearer " + SECRET.encode(), b"Bearer " + NEW.encode()]
    last = stage.evidence.leaves[-1]
    assert last.credential is not None
    assert last.credential.version == "2"
    assert last.timings is not None
    assert last.timings["renewals"] == 1
    assert stage.kinds == ["intent", "outcome"]


async def test_a_401_again_is_the_answer() -> None:
    stage = rotating(refusing(), refusing())
    outcome = await stage.handle()
    assert outcome.status == 401
    assert len(stage.caller.calls) == 2
    assert outcome.headers == ()


async def test_a_401_without_another_version_is_the_answer() -> None:
    stage = set_stage(None, refusing())
    assert (await stage.handle()).status == 401
    assert len(stage.caller.calls) == 1
    assert len(stage.credentials.resolved) == 2


async def test_a_401_without_a_credential_is_the_answer() -> None:
    stage = set_stage(None, refusing())
    assert (await stage.handle(connector="open", operation="get", parameters={"id": 1})).status == 401
    assert stage.credentials.resolved == []


@pytest.mark.parametrize(
    ("answer", "key", "tries"),
    [
        (answered(b"", 401, [CHALLENGE]), None, 2),  # RFC 9110 section 15.5.2: it has not been applied
        (answered(b"", 401, []), None, 1),  # perhaps another program's 401, relayed
        (answered(b"", 401, []), "call-1", 2),  # the upstream knows it by its key
        (answered(b"", 403, [CHALLENGE]), "call-1", 1),
    ],
)
async def test_a_post_is_repeated_only_where_it_was_not_applied_or_is_known(
    answer: Inbound, key: str | None, tries: int
) -> None:
    stage = rotating(answer, answered())
    await stage.handle(**ADD, idempotency_key=key)
    assert len(stage.caller.calls) == tries


async def test_a_source_that_fails_leaves_the_answer_as_it_was() -> None:
    stage = set_stage(None, refusing())
    stage.caller.before = lambda: stage.credentials.delete("crm")
    assert (await stage.handle()).status == 401
    assert len(stage.caller.calls) == 1


async def test_the_refused_stream_is_closed() -> None:
    body = Pieces(b"never read")
    stage = rotating(answered(body, 401, [CHALLENGE]), answered(Pieces(b"data: 1\n\n")))
    outcome = await stage.handle(connector="crm", operation="watch", parameters=None)
    assert body.closed
    assert not isinstance(outcome.body, bytes)
    assert b"".join([piece async for piece in outcome.body]) == b"data: 1\n\n"
    assert in_flight(stage) == 0


async def test_the_policys_time_is_for_both_tries() -> None:
    stage = rotating(refusing(), answered(), rule=allowing(timeout_ms=3000))
    stage.caller.before = lambda: stage.clock.advance(1.0)
    await stage.handle()
    assert [one.request.timeout for one in stage.caller.calls] == [3.0, pytest.approx(2.0)]


async def test_a_secret_that_cannot_be_sent_leaves_the_answer_as_it_was() -> None:
    holder: list[Stage] = []
    stage = set_stage(None, rotates(holder, refusing(), "two\r\nlines"))
    holder.append(stage)
    assert (await stage.handle()).status == 401
    assert len(stage.caller.calls) == 1


class Keeping(HeldCredentials):
    """Keeps what it resolved until it is told that it was refused; counts how often it looked."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Credential | None = None
        self.looked = 0

    async def resolve(self, reference: Reference) -> Credential:
        if self.kept is None:
            self.looked += 1
            self.kept = await super().resolve(reference)
        return self.kept

    async def refresh(self, reference: Reference, refused: str) -> Credential:
        if self.kept is not None and self.kept.version == refused:
            self.kept = None
        return await self.resolve(reference)


async def test_a_source_that_keeps_values_looks_again_once_for_many_refused_calls() -> None:
    source = Keeping()
    source.put("crm", SECRET)
    valid = {f"Bearer {SECRET}"}

    def upstream(request: Outbound) -> Inbound:
        given = dict(request.headers)[b"authorization"].decode()
        return answered() if given in valid else refusing()

    stage = set_stage(caller=ScriptedCaller(upstream), credentials={"encrypted": source})
    assert (await stage.handle()).status == 200
    source.put("crm", NEW)
    valid.clear()
    valid.add(f"Bearer {NEW}")
    outcomes = await asyncio.gather(*(stage.handle() for _ in range(50)))
    assert {outcome.status for outcome in outcomes} == {200}
    assert source.looked == 2


class Distant(ScriptedCaller):
    """An upstream at distances that differ: what happens meanwhile is seen by the requests on their way."""

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        for _ in range(len(self.sent) % 7):
            await asyncio.sleep(0)
        return await super().call(permit, connector, destination, request)


async def test_c02_rotation_under_load_fails_no_call() -> None:
    """10,000 calls, 100 at once, a rotation every 500; the upstream forgets the old value at once."""
    valid = {SECRET}
    started = 0

    def upstream(request: Outbound) -> Inbound:
        given = dict(request.headers)[b"authorization"].removeprefix(b"Bearer ").decode()
        return answered() if given in valid else refusing()

    caller = Distant(upstream)
    plenty = {"requests": 1_000_000, "per": "second", "burst": 1_000_000}
    config = changed("limits.principal", plenty, changed("connectors.crm.rate", plenty))
    stage = set_stage(config, caller=caller)
    outcomes: list[Outcome] = []

    async def client() -> None:
        nonlocal started
        while started < 10_000:
            started += 1
            if started % 500 == 0:
                fresh = f"value-{started}-9f86d081"
                stage.credentials.put("crm", fresh)
                valid.clear()
                valid.add(fresh)
            writes = started % 2 == 0
            outcomes.append(await (stage.handle(**ADD) if writes else stage.handle()))

    await asyncio.gather(*(client() for _ in range(100)))
    assert len(outcomes) == 10_000
    assert [outcome for outcome in outcomes if outcome.status != 200] == []
    assert len(caller.sent) > 10_000  # some were on their way, and went twice


async def test_a_source_that_expired_meanwhile_is_not_used() -> None:
    class Expired(HeldCredentials):
        async def resolve(self, reference: Reference) -> Credential:
            return Credential(Secret("some-value-of-old"), "1", expires=1)

    stage = set_stage(None, answered(), credentials={"encrypted": Expired()})
    outcome = await stage.handle()
    assert outcome.problem is not None
    assert outcome.problem.code == "credential_unavailable"
    assert outcome.problem.reasons[0]["code"] == "credential_expired"
    assert stage.caller.calls == []
