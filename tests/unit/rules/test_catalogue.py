"""The configuration, compiled."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config, Rate
from sidecar.model.credential import Binding, Reference
from sidecar.rules.catalogue import Catalogue, compile_catalogue, per_second
from tests.fakes.parts import CONFIG, changed


def compiled(config: dict[str, Any] = CONFIG) -> Catalogue:
    return compile_catalogue(msgspec.convert(config, Config))


def test_a_key_leads_to_its_principal() -> None:
    keys = compiled().keys
    assert set(keys) == {"key_alice", "key_bob", "key_stranger"}
    alice = keys["key_alice"].principal
    assert (alice.id, alice.kind, alice.tenant, alice.roles, alice.labels) == (
        "alice",
        "agent",
        "acme",
        ("reader",),
        {"team": "support"},
    )
    assert keys["key_stranger"].principal.tenant == "umbrella"
    assert keys["key_alice"].sha256 == CONFIG["principals"]["alice"]["keys"][0]["sha256"]


def test_a_principal_may_have_several_keys() -> None:
    more = [{"id": "a", "sha256": "0" * 64}, {"id": "b", "sha256": "1" * 64}]
    keys = compiled(changed("principals.alice.keys", more)).keys
    assert keys["a"].principal.id == keys["b"].principal.id == "alice"
    assert [keys[id].principal.key for id in ("a", "b")] == ["a", "b"]  # a kill switch can stop one of them


@pytest.mark.parametrize(
    ("base_url", "scheme", "host", "port", "path"),
    [
        ("https://api.example/v1", "https", "api.example", 443, "/v1/items"),
        ("https://api.example/v1/", "https", "api.example", 443, "/v1/items"),
        ("http://api.example:8080", "http", "api.example", 8080, "/items"),
        ("http://api.example", "http", "api.example", 80, "/items"),
        ("https://[2001:db8::1]:8443/x", "https", "2001:db8::1", 8443, "/x/items"),
    ],
)
def test_a_connector_has_one_canonical_destination(
    base_url: str, scheme: str, host: str, port: int, path: str
) -> None:
    connector = compiled(changed("connectors.crm.base_url", base_url)).connectors["crm"]
    assert (connector.scheme, connector.host, connector.port) == (scheme, host, port)
    assert connector.operations["find"].template.path.parts == (path,)


def test_a_host_in_another_spelling_is_not_compiled() -> None:
    with pytest.raises(ValueError, match=r"api\.example"):
        compiled(changed("connectors.crm.base_url", "https://API.Example./v1"))


def test_a_binding_names_canonical_hosts() -> None:
    hosts = ["api.example:443", "[2001:db8::1]:8443"]
    connector = compiled(changed("credentials.crm.hosts", hosts)).connectors["crm"]
    assert connector.binding == Binding(
        id="crm",
        reference=Reference("encrypted", "crm"),
        hosts=("api.example:443", "2001:db8::1:8443"),
        connectors=("crm",),
        positions=("bearer", "basic", "header", "query"),
    )


def test_a_connector_without_auth_has_no_binding() -> None:
    assert compiled().connectors["open"].binding is None


def test_what_an_operation_does_and_whether_it_may_be_repeated() -> None:
    shapes: dict[tuple[str, str | None, bool | None], tuple[str, bool]] = {
        ("GET", None, None): ("read", True),
        ("POST", None, None): ("write", False),
        ("PUT", None, None): ("write", True),
        ("PATCH", None, None): ("write", False),
        ("DELETE", None, None): ("write", True),
        ("POST", "read", None): ("read", False),
        ("GET", "write", None): ("write", True),
        ("POST", None, True): ("write", True),
        ("GET", None, False): ("read", False),
    }
    for (method, declared, idempotent), expected in shapes.items():
        section = {"method": method, "path": "/x", "effect": declared, "idempotent": idempotent}
        operation = compiled(changed("connectors.crm.operations.find", section)).connectors["crm"].operations["find"]
        assert (operation.effect, operation.idempotent) == expected


def test_names_of_headers_and_types_are_lower_case() -> None:
    operations = compiled().connectors["crm"].operations
    assert operations["get"].policy_headers == {b"x-region"}
    assert operations["add"].idempotency_header == b"idempotency-key"
    types = changed("connectors.crm.operations.typed.answer.content_types", ["Application/JSON"])
    assert compiled(types).connectors["crm"].operations["typed"].content_types == {"application/json"}


def test_an_operation_without_a_schema_takes_no_parameters() -> None:
    validator = compiled().connectors["crm"].operations["watch"].validator
    assert validator.is_valid({})
    assert not validator.is_valid({"x": 1})


def test_formats_are_checked() -> None:
    schema = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
    validator = compiled(changed("connectors.crm.operations.find.parameters", schema)).connectors["crm"]
    assert validator.operations["find"].validator.is_valid({"day": "2024-02-29"})
    assert not validator.operations["find"].validator.is_valid({"day": "2023-02-29"})


def test_a_violation_does_not_repeat_the_value() -> None:
    validator = compiled().connectors["crm"].operations["get"].validator
    messages = [error.message for error in validator.iter_errors({"id": "7", "page": "hunter2"})]
    assert messages
    assert "hunter2" not in json.dumps(messages)


def test_a_schema_fetches_nothing() -> None:
    schema = {"$ref": "https://schemas.example/x.json"}
    with pytest.raises(Exception, match=r"schemas\.example"):
        compiled(changed("connectors.crm.operations.find.parameters", schema))


def test_a_plane_leads_to_the_connector_of_its_source() -> None:
    plane = compiled().planes["knowledge"]
    assert (plane.id, plane.source, plane.owner, plane.connector) == ("knowledge", "crm", "support", "crm")
    assert plane.actions == {"query": ("find",), "retrieve": ("get",), "search": ("find", "get")}


def test_grants_are_by_canonical_name_and_port() -> None:
    grant = {"name": "API.Example", "port": 443, "networks": ["10.0.0.0/8"]}
    assert set(compiled(CONFIG | {"destinations": {"crm": grant}}).grants) == {("api.example", 443)}


@pytest.mark.parametrize(("per", "expected"), [("second", 30.0), ("minute", 0.5), ("hour", 30 / 3600)])
def test_rates_are_per_second(per: Any, expected: float) -> None:
    assert per_second(Rate(requests=30, per=per)) == pytest.approx(expected)
