"""What a caller cannot do to the header that the sidecar injects, and when no secret is even looked up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.inject import inject
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.answers import answered
from tests.fakes.credentials import HeldCredentials
from tests.fakes.parts import SECRET, allowing, changed, code, denying, set_stage
from tests.invariants.test_requests import STYLES

HOSTILE = [
    (b"authorization", b"Bearer mine"),
    (b"connection", b"authorization, x-api-key"),
    (b"authorization", b"Basic bWluZTptaW5l"),
    (b"x-api-key", b"mine"),
]


@pytest.mark.parametrize("style", ["bearer", "basic", "header"])
def test_a83_a85_no_header_of_a_request_takes_the_injected_ones_place(style: str) -> None:
    config = changed("connectors.crm.auth", {"style": style, "credential": "crm", "name": "X-Api-Key"})
    connector = compile_catalogue(msgspec.convert(config, Config)).connectors["crm"]
    made = inject(Outbound("GET", "/", list(HOSTILE), b""), connector, Credential(Secret("ours-1234"), "1"), 0)
    name = b"x-api-key" if style == "header" else b"authorization"
    assert [value for header, value in made.request.headers if header == name] == [made.request.headers[-1][1]]
    assert b"mine" not in made.request.headers[-1][1]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rule", [allowing(require_approval=True), denying(("no", "No.")), lambda _: b"{}"])
async def test_a102_without_a_permit_no_secret_is_looked_up(style: str, rule: Any) -> None:
    """A pending approval is told as one, and not as a route that is not there."""
    stage = set_stage(changed("connectors.crm.auth", STYLES[style]), rule=rule)
    outcome = await stage.handle()
    assert code(outcome) in ("approval_required", "denied", "policy_unavailable")
    assert outcome.status == 403
    assert stage.credentials.resolved == []
    assert stage.caller.calls == []


async def test_a104_a_store_that_is_down_stops_the_call_and_nothing_older_is_sent() -> None:
    class Down(HeldCredentials):
        down = False

        async def resolve(self, reference: Reference) -> Credential:
            if self.down:
                raise Unavailable("credential_unavailable", "The store does not answer.")
            return await super().resolve(reference)

    store = Down()
    store.put("crm", SECRET)
    stage = set_stage(None, answered(), credentials={"encrypted": store})
    assert (await stage.handle()).status == 200
    store.down = True
    outcome = await stage.handle()
    assert code(outcome) == "credential_unavailable"
    assert len(stage.caller.calls) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("credentials.crm.hosts", ["other.example:443"]),
        ("credentials.crm.connectors", ["open"]),
        ("credentials.crm.positions", ["body"]),
        ("connectors.crm.base_url", "http://api.example:443/v1"),
    ],
)
async def test_a_misuse_alarms_and_neither_looks_anything_up_nor_sends(path: str, value: Any) -> None:
    stage = set_stage(changed(path, value))
    assert code(await stage.handle()) == "credential_misused"
    assert stage.credentials.resolved == []
    assert stage.caller.calls == []
    [alarm] = [fields for event, fields in stage.observer.events if event == "credential_alarm"]
    assert (alarm["connector"], alarm["credential"], alarm["principal"]) == ("crm", "crm", "alice")
    assert len(alarm["reasons"]) == 1
    assert stage.kinds == ["refusal"]


async def test_a_call_that_is_no_misuse_raises_no_alarm() -> None:
    stage = set_stage(None, answered())
    await stage.handle()
    stage = set_stage(rule=denying(("no", "No.")))
    await stage.handle()
    assert not [event for event, _ in stage.observer.events if event == "credential_alarm"]
