"""The request is built from the template and nothing else (INV-2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.model.call import Call
from sidecar.model.decision import Obligations, Permit
from sidecar.model.exchange import Outbound
from sidecar.pipeline.compose import compose, is_idempotent, shortened
from sidecar.pipeline.select import select, validate
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.parts import CONFIG, changed


def composed(
    operation: str = "get",
    parameters: Any = None,
    obligations: Obligations = Obligations(),  # noqa: B008  # frozen
    config: dict[str, Any] = CONFIG,
    **more: Any,
) -> Outbound:
    call = Call(
        id="c",
        surface="access",
        action="execute",
        connector="crm",
        operation=operation,
        parameters=parameters,
        **more,
    )
    target = select(call, compile_catalogue(msgspec.convert(config, Config)))
    permit = Permit("c", "crm", operation, "r", obligations)
    return compose(call, target, validate(parameters, target.operation), permit)


def test_a_request_is_the_templates() -> None:
    request = composed(parameters={"id": "7", "fields": ["a"], "page": 2, "region": "eu"})
    assert request.method == "GET"
    assert request.target == "/v1/items/7?fields=a&page=2"
    assert dict(request.headers) == {
        b"user-agent": b"policy-sidecar",
        b"accept-encoding": b"identity",
        b"accept": b"*/*",
        b"x-region": b"eu",
    }
    assert request.body == b""
    assert not request.stream


def test_a_request_without_query_has_no_question_mark() -> None:
    assert composed(parameters={"id": "7"}).target == "/v1/items/7"


def test_a_template_may_say_what_it_accepts() -> None:
    config = changed("connectors.crm.operations.get.headers", {"Accept": "text/plain"})
    headers = composed(parameters={"id": "7"}, config=config).headers
    assert [value for name, value in headers if name == b"accept"] == [b"text/plain"]


def test_inv_2_nothing_of_the_call_but_its_parameters_is_in_the_request() -> None:
    """Session, trace, peer, surface, plane, a header-like parameter name: none of it leaves."""
    plain = composed("add", {"item": 1})
    call: dict[str, Any] = {"session": "s-canary", "traceparent": "t-canary", "peer": "p-canary"}
    assert (
        composed("add", {"item": 1, "authorization": "canary", "host": "canary", "path": "/canary"}, **call) == plain
    )


def test_an_idempotency_key_goes_where_it_is_mapped() -> None:
    assert dict(composed("add", {}, idempotency_key="k-1").headers)[b"idempotency-key"] == b"k-1"
    assert not any(b"k-1" in value for _, value in composed(parameters={"id": "7"}, idempotency_key="k-1").headers)


@pytest.mark.parametrize("key", ["", " ", "a\r\nx: y", "é", "\0", "a\x7f", "a\tb"])
def test_inv_2_an_idempotency_key_is_visible_ascii(key: str) -> None:
    with pytest.raises(Refused) as refused:
        composed("add", {}, idempotency_key=key)
    assert refused.value.code == "invalid_payload"


def test_obligations_make_bounds_smaller_and_never_larger() -> None:
    assert composed("typed").max_bytes == 1000
    assert composed("typed", obligations=Obligations(max_bytes=10)).max_bytes == 10
    assert composed("typed", obligations=Obligations(max_bytes=10_000)).max_bytes == 1000
    assert composed("typed").timeout is None
    assert composed("typed", obligations=Obligations(timeout_ms=1500)).timeout == 1.5


def test_a_streaming_operation_asks_for_a_stream() -> None:
    assert composed("watch").stream


@pytest.mark.parametrize(
    ("operation", "key", "harmless"), [("get", None, True), ("add", None, False), ("add", "k", True)]
)
def test_a_request_that_does_no_harm_twice(operation: str, key: str | None, harmless: bool) -> None:
    operations = compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["crm"].operations
    call = Call(id="c", surface="access", action="execute", idempotency_key=key)
    assert is_idempotent(call, operations[operation]) is harmless


def test_a_key_that_is_not_passed_on_makes_nothing_harmless() -> None:
    config = changed("connectors.crm.operations.add.idempotency_header", None)
    add = compile_catalogue(msgspec.convert(config, Config)).connectors["crm"].operations["add"]
    assert not is_idempotent(Call(id="c", surface="access", action="execute", idempotency_key="k"), add)


def test_a_second_try_has_what_is_left_of_the_time() -> None:
    request = Outbound("GET", "/", [], b"", timeout=3.0)
    assert shortened(request, 1.0).timeout == 2.0
    assert 0 < (shortened(request, 5.0).timeout or 0) < 0.01
    assert shortened(request._replace(timeout=None), 1.0).timeout is None
