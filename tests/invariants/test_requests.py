"""INV-2: an agent's parameters fill places of a template; nothing else of the agent's reaches the upstream."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.exchange import Destination
from tests.fakes.parts import CONFIG, SECRET, changed, code, key_of, set_stage
from tests.properties.test_templates import text as any_text
from tests.properties.test_templates import value

# What a JSON document or a header can hold at all: no lone surrogates.
text = any_text.filter(lambda chosen: "\ud800" not in chosen)

parameters = st.fixed_dictionaries(
    {"id": st.one_of(text, st.integers(-(1 << 63), (1 << 64) - 1))},
    optional={"fields": st.lists(text, max_size=4), "page": st.integers(1, 99), "region": text},
)
STYLES: Final[dict[str, dict[str, str]]] = {
    "bearer": {"style": "bearer", "credential": "crm"},
    "basic": {"style": "basic", "credential": "crm", "username": "u"},
    "header": {"style": "header", "credential": "crm", "name": "X-Api-Key"},
    "query": {"style": "query", "credential": "crm", "name": "key"},
}


@given(chosen=parameters, idempotency_key=st.none() | text, session=st.none() | text)
async def test_inv_2_whatever_the_parameters_the_request_is_the_templates(
    chosen: dict[str, Any], idempotency_key: str | None, session: str | None
) -> None:
    stage = set_stage()
    outcome = await stage.handle(
        connector="crm", operation="get", parameters=chosen, idempotency_key=idempotency_key, session=session
    )
    if not stage.caller.calls:
        assert code(outcome) == "invalid_payload"
        return
    sent = stage.caller.calls[0]
    assert sent.request.method == "GET"
    assert sent.destination.host == "api.example"
    path, _, query = sent.request.target.partition("?")
    assert re.fullmatch(r"/v1/items/[A-Za-z0-9._~%-]+", path)
    assert path.rpartition("/")[2] not in (".", "..")
    assert re.fullmatch(r"[A-Za-z0-9._~%&=-]*", query)
    assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= {"fields", "page"}
    assert set(sent.headers) <= {b"user-agent", b"accept-encoding", b"accept", b"x-region", b"authorization"}
    assert sent.headers[b"authorization"] == b"Bearer " + SECRET.encode()
    assert all(re.fullmatch(rb"[\x20-\x7e]+", content) for content in sent.headers.values())
    assert sent.request.body == b""


@given(chosen=st.dictionaries(text, value, max_size=5))
async def test_inv_2_no_payload_at_all_changes_where_a_call_goes(chosen: dict[str, Any]) -> None:
    stage = set_stage()
    await stage.handle(connector="crm", operation="add", parameters=chosen)
    for sent in stage.caller.calls:
        assert (sent.request.method, sent.request.target) == ("POST", "/v1/items")
        assert sent.destination == Destination("https", "api.example", 443, ("93.184.216.34",))
        assert set(sent.headers) == {
            *(b"user-agent", b"accept-encoding", b"accept", b"authorization", b"content-type"),
        }
        assert sent.request.body.startswith(b'{"item":') or sent.request.body == b'{"source":"agent"}'


@pytest.mark.parametrize("style", STYLES)
async def test_inv_2_the_injected_credential_is_the_only_one(style: str) -> None:
    """Whatever the payload calls itself, the agent's own key stays here and the credential is the machine's."""
    config = changed("connectors.crm.auth", STYLES[style])
    stage = set_stage(config)
    payload = {"authorization": "Bearer mine", "key": "mine", "x-api-key": "mine", "item": "mine"}
    await stage.handle(connector="crm", operation="add", parameters=payload)
    sent = stage.caller.calls[0]
    shown = repr((sent.request.target, sent.headers))
    assert "mine" not in shown
    assert key_of("alice") not in shown
    where = {
        "bearer": sent.headers.get(b"authorization") == b"Bearer " + SECRET.encode(),
        "basic": sent.headers.get(b"authorization", b"").startswith(b"Basic "),
        "header": sent.headers.get(b"x-api-key") == SECRET.encode(),
        "query": sent.request.target.startswith("/v1/items?key=s3cr3t"),
    }
    assert [name for name, here in where.items() if here] == [style]


async def test_inv_2_a_connector_without_auth_sends_no_credential() -> None:
    stage = set_stage()
    await stage.handle(connector="open", operation="get", parameters={"id": "1", "authorization": "Bearer mine"})
    assert set(stage.caller.calls[0].headers) == {b"user-agent", b"accept-encoding", b"accept"}
    assert stage.credentials.resolved == []


async def test_inv_2_the_method_is_the_operations() -> None:
    for name, operation in CONFIG["connectors"]["crm"]["operations"].items():
        stage = set_stage()
        await stage.handle(connector="crm", operation=name, parameters={"id": "1"} if name == "get" else None)
        assert [sent.request.method for sent in stage.caller.calls] == [operation["method"]]
