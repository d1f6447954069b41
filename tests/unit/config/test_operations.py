"""One operation: its template, its schema, and what it may not carry."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.config.builders import changed, codes, found

AT = "connectors.crm.operations.find"
TOKEN = "Zx9Qw3Er7Ty1Ui5Op2As8Df4Gh6Jk0Lz"


def _errors(field: str, value: Any) -> list[tuple[str, str]]:
    return [(code, path.removeprefix(f"{AT}.")) for code, path in codes(found(changed(f"{AT}.{field}", value)))]


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/a/{id}", "/a-{id}.json", "/a/{id}/b/{id}", "/a%20b", "/@me/x:y"]
)
def test_inv_2_paths_that_everybody_reads_alike(path: str) -> None:
    assert _errors("path", path) == []


@pytest.mark.parametrize(
    "path",
    [
        "/../a",
        "/a/..",
        "/./a",
        "/a/%2e%2e/b",
        "/a%2Fb",
        "/a%5cb",
        "/a%00",
        "/a\\b",
        "/a;b",
        "/a%zz",
        "/ü",
        "/a%",
        "/a|b",
    ],
)
def test_inv_2_paths_that_servers_read_apart_are_refused(path: str) -> None:
    assert _errors("path", path) == [("wrong_value", "path")]


@pytest.mark.parametrize("path", ["/{user-id}", "/{}", "/{id", "/id}", "/{{id}}", "/{1}", "/{*}"])
def test_a_placeholder_is_a_name_in_braces(path: str) -> None:
    assert ("wrong_placeholder", "path") in _errors("path", path)


def test_placeholders_are_parameters() -> None:
    assert _errors("path", "/{idd}") == [("unknown_parameter", "path")]
    assert _errors("path", "/{limit}") == [("optional_in_path", "path")]
    assert _errors("query", {"a": "{nope}"}) == [("unknown_parameter", "query.a")]
    assert _errors("headers", {"X-A": "v{nope}"}) == [("unknown_parameter", "headers.X-A")]
    assert _errors("body", {"a": ["{nope}", "{*}", "text {nope}", "{id}"]}) == [("unknown_parameter", "body.a[0]")]
    assert _errors("parameters", ...) == [("unknown_parameter", "path"), ("unknown_parameter", "query.limit")]


def test_a_near_name_is_offered() -> None:
    faults = found(changed(f"{AT}.query", {"a": "{limt}"}))
    assert faults.errors[0].message.endswith("did you mean 'limit'?")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "cookie", "HOST", "Content-Length", "transfer-encoding", "Connection", "accept-encoding"],
)
def test_inv_2_a_template_does_not_set_what_authenticates_frames_or_routes(name: str) -> None:
    assert _errors("headers", {name: "x"}) == [("header_refused", f"headers.{name}")]
    assert _errors("idempotency_header", name) == [("header_refused", "idempotency_header")]


def test_headers() -> None:
    assert _errors("headers", {"X A": "x"}) == [("wrong_key", 'headers."X A"')]
    assert _errors("headers", {"X-A": "a\r\nb: c"}) == [("wrong_value", "headers.X-A")]
    assert _errors("headers", {"X-A": "a", "x-a": "b"}) == [("header_refused", "headers.x-a")]
    assert _errors("policy_headers", ["a b"]) == [("wrong_value", "policy_headers[0]")]


def test_a_header_is_not_written_where_the_credential_or_the_body_writes() -> None:
    document = changed("credentials.crm-key.positions", ["header"])
    document["connectors"]["crm"]["auth"] |= {"style": "header", "name": "X-Api-Key"}
    document = changed(f"{AT}.headers", {"x-api-key": "mine", "Content-Type": "text/plain"}, document)
    assert codes(found(document)) == [("header_refused", f"{AT}.headers.x-api-key")]
    document = changed(f"{AT}.body", {}, document)
    assert ("header_refused", f"{AT}.headers.Content-Type") in codes(found(document))


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objct"}, "parameters.type"),
        ({"properties": {"id": {"minimum": "1"}}}, "parameters.properties.id.minimum"),
        ({"required": "id"}, "parameters.required"),
        ({"properties": {"id": {"pattern": "("}}}, "parameters.properties.id.pattern"),
    ],
)
def test_the_schema_of_parameters_is_a_schema(schema: dict[str, Any], path: str) -> None:
    assert ("wrong_schema", path) in _errors("parameters", schema)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/s.json", "file:///etc/passwd", "other.json", "urn:x"])
def test_a_schema_fetches_nothing(uri: str) -> None:
    base = {"type": "object", "required": ["id"], "properties": {"id": {}, "limit": {}}}
    assert _errors("parameters", base | {"$ref": uri}) == [("remote_schema", 'parameters."$ref"')]
    hidden = base | {"properties": {"id": {}, "limit": {}, "default": {"$ref": uri}}}
    assert [code for code, _ in _errors("parameters", hidden)] == ["wrong_schema"]


def test_a_schema_may_refer_to_itself_and_name_its_dialect() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "required": ["id"],
        "properties": {"id": {"$ref": "#/$defs/id"}, "limit": {"const": {"$ref": "http://is.data/"}}},
        "$defs": {"id": {"type": "string"}},
    }
    assert _errors("parameters", schema) == []
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    assert _errors("parameters", schema) == [("remote_schema", 'parameters."$schema"')]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"] = {"id": {"$ref": "#/$defs/gone"}, "limit": {}}
    assert _errors("parameters", schema) == [("wrong_schema", "parameters")]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("query", {"api_key": TOKEN}, "query.api_key"),
        ("headers", {"X-Api-Key": TOKEN}, "headers.X-Api-Key"),
        ("body", {"auth": {"tokens": [TOKEN]}}, "body.auth.tokens[0]"),
        ("path", f"/hooks/{TOKEN}/{{id}}", "path"),
    ],
)
def test_inv_5_a_raw_key_in_a_template_is_refused_and_not_repeated(field: str, value: Any, path: str) -> None:
    faults = found(changed(f"{AT}.{field}", value))
    assert codes(faults) == [("raw_secret", f"{AT}.{path}")]
    assert TOKEN not in faults.errors[0].message


@pytest.mark.parametrize(
    ("path", "body", "fits"),
    [
        ("/key", {}, True),
        ("/auth/key", {"auth": {}}, True),
        ("/a~1b/key", {"a/b": {"x": 1}}, True),
        ("/key", None, False),
        ("/key", ["x"], False),
        ("/key", "{*}", False),
        ("/auth/key", {}, False),
        ("/auth/key", {"auth": "{id}"}, False),
    ],
)
def test_a_credential_that_goes_into_the_body_needs_an_object_there(path: str, body: Any, fits: bool) -> None:
    document = changed("connectors.crm.auth", {"style": "body", "path": path, "credential": "crm-key"})
    document = changed("credentials.crm-key.positions", ["body"], document)
    document = changed("connectors.crm.operations.create", ..., document)
    document = changed(f"{AT}.method", "POST", changed(f"{AT}.effect", "read", document))
    if body is not None:
        document = changed(f"{AT}.body", body, document)
    assert codes(found(document)) == ([] if fits else [("no_place", f"{AT}.body" if body is not None else AT)])


def test_the_style_body_needs_its_path() -> None:
    document = changed("connectors.crm.auth.style", "body", changed("credentials.crm-key.positions", ["body"]))
    assert ("missing_key", "connectors.crm.auth") in codes(found(document))
