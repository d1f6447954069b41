"""Checks of one operation: its template, the JSON Schema of its parameters, and what it may not carry.

A placeholder is ``{name}``; each must be a parameter, and one in the path a required parameter. An operation cannot
set the headers that authenticate, frame or route a message: those are the machine's (INV-2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import jsonschema_rs

from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults, nearest
from sidecar.config.sections import Auth, OperationSection
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_WHOLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|\*)\}", re.ASCII)
_ODD_PLACE: Final = re.compile(r"\{[\w .*-]*\}")
# Percent-encoded slash, backslash, dot and NUL are read as the character by some servers and not by others.
_PATH: Final = re.compile(
    r"(?:/(?!\.\.?(?:/|$))(?:[A-Za-z0-9._~$+,=:@!*'()&-]|%(?!2[fFeE]|5[cC]|00)[0-9a-fA-F]{2})*)+", re.ASCII
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 section 5.6.2
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")
_MACHINE: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "host", "content-length", "transfer-encoding"),
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect", "accept-encoding"),
    }
)
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DATA: Final = frozenset({"const", "enum", "default", "examples"})  # keywords whose values are data, not schemas


def effect(operation: OperationSection) -> str:
    """``read`` or ``write``: as declared, else a GET reads and anything else writes."""
    return operation.effect or ("read" if operation.method == "GET" else "write")


def check_operation(operation: OperationSection, auth: Auth | None, path: JsonPath, faults: Faults) -> None:
    """Add an error for everything that is wrong with ``operation``, written at ``path``."""
    schema = operation.parameters
    if schema is not None:
        _check_schema(schema, (*path, "parameters"), faults)
    _check_path(operation.path, (*path, "path"), faults)
    _check_headers(operation, auth, path, faults)
    _check_body_place(operation, auth, path, faults)
    properties, required = _parameters(schema)
    for where, text in _texts(operation):
        if looks_secret(text):
            faults.error("raw_secret", (*path, *where), SHAPED_LIKE_ONE)
    for where, name, in_path in _placeholders(operation):
        if name not in properties:
            message = f"'{name}' is not among the parameters' properties{nearest(name, properties)}"
            faults.error("unknown_parameter", (*path, *where), message)
        elif in_path and name not in required:
            faults.error("optional_in_path", (*path, *where), f"'{name}' is in the path, so it must be required")


def _parameters(schema: dict[str, Any] | None) -> tuple[dict[str, Any], list[Any]]:
    properties = (schema or {}).get("properties", {})
    required = (schema or {}).get("required", [])
    return properties if isinstance(properties, dict) else {}, required if isinstance(required, list) else []


def _check_path(text: str, path: JsonPath, faults: Faults) -> None:
    plain = _PLACE.sub("x", text)
    if "{" in plain or "}" in plain:
        faults.error("wrong_placeholder", path, "a placeholder is {name}: letters, digits and underscores")
    elif not _PATH.fullmatch(plain):
        message = "a path has plain segments: no dot segments, no spaces, no ; and nothing that servers read apart"
        faults.error("wrong_value", path, message)


def _check_headers(operation: OperationSection, auth: Auth | None, path: JsonPath, faults: Faults) -> None:
    taken = dict.fromkeys(_MACHINE, "is set by the sidecar; an authentication header comes from auth")
    if auth is not None and auth.style == "header" and auth.name:
        taken[auth.name.lower()] = "is where the credential goes"
    if operation.body is not None:
        taken["content-type"] = "is set by the body template"
    named = [((*path, "headers", name), name) for name in operation.headers]
    if operation.idempotency_header is not None:
        named.append(((*path, "idempotency_header"), operation.idempotency_header))
    for where, name in named:
        if not _TOKEN.fullmatch(name):
            faults.error("wrong_key", where, "a header name is a token (RFC 9110 section 5.6.2)", key=True)
        elif name.lower() in taken:
            faults.error("header_refused", where, f"this header {taken[name.lower()]}", key=True)
        taken.setdefault(name.lower(), "is written twice")
    for name, value in operation.headers.items():
        if not _VISIBLE.fullmatch(value):
            faults.error("wrong_value", (*path, "headers", name), "a header value is visible ASCII")
    for at, name in enumerate(operation.policy_headers):
        if not _TOKEN.fullmatch(name):
            faults.error("wrong_value", (*path, "policy_headers", at), "a header name is a token")


def _check_body_place(operation: OperationSection, auth: Auth | None, path: JsonPath, faults: Faults) -> None:
    """A credential that goes into the body needs one, with an object where its member is to be."""
    if auth is None or auth.style != "body" or auth.path is None:
        return
    shape = operation.body
    for token in auth.path.split("/")[1:-1]:
        name = token.replace("~1", "/").replace("~0", "~")  # RFC 6901 section 4
        shape = shape.get(name) if isinstance(shape, dict) else None
    if not isinstance(shape, dict):
        message = f"the credential goes into the body at {auth.path}, and the body template has no object there"
        faults.error("no_place", (*path, "body") if operation.body is not None else path, message)


def _texts(operation: OperationSection) -> Iterator[tuple[JsonPath, str]]:
    """Every text that would be sent as it stands; the path cut into its segments."""
    yield from ((("path",), segment) for segment in operation.path.split("/"))
    for section, fields in (("query", operation.query), ("headers", operation.headers)):
        for name, text in fields.items():
            yield (section, name), text
    yield from _strings(operation.body, ("body",))


def _strings(shape: object, path: JsonPath) -> Iterator[tuple[JsonPath, str]]:
    match shape:
        case str():
            yield path, shape
        case dict():
            for key, value in shape.items():
                yield from _strings(value, (*path, key))
        case list():
            for at, value in enumerate(shape):
                yield from _strings(value, (*path, at))


def _placeholders(operation: OperationSection) -> Iterator[tuple[JsonPath, str, bool]]:
    """Where, which parameter, and whether in the path."""
    for name in _PLACE.findall(operation.path):
        yield ("path",), name, True
    for section, fields in (("query", operation.query), ("headers", operation.headers)):
        for key, text in fields.items():
            for name in _PLACE.findall(text):
                yield (section, key), name, False
    for where, text in _strings(operation.body, ("body",)):
        whole = _WHOLE.fullmatch(text)
        if whole and whole[1] != "*":
            yield where, whole[1], False


def _check_schema(schema: dict[str, Any], path: JsonPath, faults: Faults) -> None:
    before = len(faults.errors)
    for where, message in _remote(schema, ()):
        faults.error("remote_schema", (*path, *where), message)
    if len(faults.errors) > before:
        return
    try:
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True, retriever=_fetch_nothing)
    except jsonschema_rs.ValidationError as error:
        where = tuple(error.instance_path)
        faults.error("wrong_schema", (*path, *where), "this is not valid JSON Schema 2020-12 (keyword or value)")
    except (ValueError, jsonschema_rs.ReferencingError):
        faults.error("wrong_schema", path, "the JSON Schema refers to something that is not in it")


def _fetch_nothing(uri: str) -> NoReturn:
    raise ValueError(uri)


def _remote(schema: object, path: JsonPath) -> Iterator[tuple[JsonPath, str]]:
    if isinstance(schema, list):
        for at, item in enumerate(schema):
            yield from _remote(item, (*path, at))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            yield (*path, key), "a schema refers only to itself (#/...): nothing is fetched"
        elif key == "$schema" and isinstance(value, str) and value not in (_DIALECT, f"{_DIALECT}#"):
            yield (*path, key), f"the dialect is {_DIALECT}"
        elif key not in _DATA:
            yield from _remote(value, (*path, key))
