"""The OpenAPI 3.1 document of the administrators' door, made from its route table and the classes of its values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec

from sidecar import __version__
from sidecar.errors import CODES
from sidecar.listeners.admin_bodies import schema_of
from sidecar.listeners.admin_routes import Endpoint, Listed
from sidecar.listeners.routes import ADMIN_GUARDS
from sidecar.model.call import Problem

_PLACE: Final = re.compile(r"\{(\w+)\}")
_REF: Final = "#/components/schemas/{name}"
# Statuses that any request may meet, and those of changes. 5xx are of parts that do not answer.
_ALWAYS: Final = (400, 401, 403, 404, 422, 429, 500, 503)
_OF_BODIES: Final = (408, 413, 415)
_OF_CHANGES: Final = (409,)
_BOOLEANS: Final = ("declared", "draft", "force", "leases")
_NEW: Final = {"type": "string", "enum": ["*"]}
_NUMBERS: Final = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 500},
    "before": {"type": "integer", "minimum": 0},
    "days": {"type": "integer", "minimum": 0, "maximum": 36500},
    "since": {"type": "integer", "minimum": 0, "description": "microseconds since the epoch"},
}


def openapi(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document. The same object for the same table."""
    return _document(tuple(endpoints))


@lru_cache(maxsize=1)
def _document(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    kinds: list[type] = [Problem]
    for endpoint in endpoints:
        tells = endpoint.tells.item if isinstance(endpoint.tells, Listed) else endpoint.tells
        kinds += [kind for kind in (tells, endpoint.body, endpoint.section) if kind is not None and kind is not dict]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF, schema_hook=schema_of)
    named = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.pattern, {})[endpoint.method.lower()] = _operation(endpoint, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "policy-sidecar: the administrators' door",
            "version": __version__,
            "description": "Refusals are problem documents (RFC 9457) with a stable `code`.",
        },
        "security": [{"key": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "an API key (scp_...) of a person"},
                "certificate": {"type": "mutualTLS", "description": "a client certificate that names a person"},
            },
        },
    }


def _operation(endpoint: Endpoint, named: dict[type, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACE.findall(endpoint.pattern)
    ]
    parameters += [_query(name, required=True) for name in endpoint.names]
    parameters += [_query(name) for name in endpoint.query]
    if endpoint.matches or endpoint.tagged:
        tag = "[0-9]{1,15}" if endpoint.matches else "[!#-~]{1,128}"
        parameters += [
            _header("If-Match", "the ETag of what is changed", {"type": "string", "pattern": f'^"{tag}"$'}),
            _header("If-None-Match", "* where it is new", _NEW),
        ]
    operation: dict[str, Any] = {
        "operationId": _id(endpoint),
        "summary": endpoint.summary,
        "description": f"For the roles {', '.join(sorted(ADMIN_GUARDS[endpoint.guard]))}.",
        "tags": [endpoint.pattern.split("/")[2].partition(".")[0]],
        "parameters": parameters,
        "responses": _responses(endpoint, named),
    }
    kind = endpoint.body or endpoint.section
    if kind is not None:
        content = {"application/json": {"schema": named[kind]}}
        required = endpoint.section is not None or _has_secret(kind)
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _responses(endpoint: Endpoint, named: dict[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    good: dict[str, Any] = {"application/json": {"schema": _told(endpoint, named)}}
    if endpoint.runs:
        good = {"*/*": {}}
        responses["default"] = {"description": "What the upstream answered, scrubbed.", "content": good}
    if not endpoint.runs:
        responses |= {status: {"description": "Done.", "content": good} for status in _statuses(endpoint)}
    refused = {*_ALWAYS}
    if endpoint.body is not None or endpoint.section is not None:
        refused |= {*_OF_BODIES}
    if endpoint.method != "GET":
        refused |= {*_OF_CHANGES}
    if endpoint.pattern.startswith("/v1/credential"):
        refused.add(502)
    if endpoint.matches or endpoint.tagged:
        refused.add(428)
    problems = {"application/problem+json": {"schema": named[Problem]}}
    for status in sorted(refused):
        codes = sorted(name for name, code in CODES.items() if code.status == status)
        responses[str(status)] = {"description": f"Refused: {', '.join(codes)}.", "content": problems}
    return responses


def _statuses(endpoint: Endpoint) -> list[str]:
    """Of success: 201 where something new came of it (RFC 9110 section 15.3.2)."""
    if endpoint.creates:
        return ["201"]
    names_its_version = endpoint.matches or endpoint.tagged
    return ["200", "201"] if endpoint.method == "PUT" and names_its_version else ["200"]


def _told(endpoint: Endpoint, named: dict[type, Any]) -> dict[str, Any]:
    tells = endpoint.tells
    if isinstance(tells, Listed):
        items = {"type": "array", "items": named[tells.item]}
        return {
            "type": "object",
            "required": [tells.name, "next"],
            "properties": {tells.name: items, "next": {"type": ["string", "null"]}},
        }
    return {"type": "object"} if tells is None or tells is dict else dict(named[tells])


def _query(name: str, *, required: bool = False) -> dict[str, Any]:
    schema = {"type": "boolean"} if name in _BOOLEANS else _NUMBERS.get(name, {"type": "string"})
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _has_secret(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct) and "value" in kind.__struct_fields__


def _id(endpoint: Endpoint) -> str:
    words = [word for word in re.split(r"[/{}.]", endpoint.pattern.removeprefix("/v1")) if word]
    return "-".join([endpoint.method.lower(), *words])
