"""Why a document does not fit the schema: one sentence an error, without repeating a value.

Only runs after the fast check has failed: the ``jsonschema`` library finds every violation, where the fast one is
asked only whether there is any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults, nearest
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_REFERENCE: Final = "a reference"
_KINDS: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def explain(value: Any, schema: dict[str, Any], faults: Faults) -> None:
    """Add an error for each violation of ``schema`` by ``value``; at least one."""
    before = len(faults.errors)
    for error in Draft202012Validator(schema).iter_errors(value):
        for leaf in _leaves(error):
            _add(leaf, faults)
    if len(faults.errors) == before:
        _add_refused(value, schema, faults)


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """What is behind ``X | null``: the violations of X."""
    if error.validator == "anyOf" and error.context:
        options: Any = error.validator_value
        for inner in error.context:
            if options[inner.schema_path[0]] != {"type": "null"}:
                yield from _leaves(inner)
    else:
        yield error


def _add(error: ValidationError, faults: Faults) -> None:
    path: JsonPath = tuple(error.absolute_path)
    rule: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    needed: Any = error.validator_value
    if "propertyNames" in error.absolute_schema_path:
        code, message = _sentence(error, rule)
        faults.error("wrong_key" if code != "raw_secret" else code, (*path, instance), f"the key {message}", key=True)
    elif error.validator == "additionalProperties":
        known = rule.get("properties", {})
        for key in instance:
            if key not in known:
                faults.error("unknown_key", (*path, key), _unknown(key, known), key=True)
    elif error.validator == "required":
        for key in needed:
            if key not in instance and f"'{key}'" in error.message:
                faults.error("missing_key", path, f"the key '{key}' is missing", key=True)
    else:
        code, message = _sentence(error, rule)
        faults.error(code, path, message)


def _unknown(key: str, known: dict[str, Any]) -> str:
    return f"there is no such key{nearest(key, known) or '; known: ' + ', '.join(known)}"


def _sentence(error: ValidationError, rule: dict[str, Any]) -> tuple[str, str]:
    limit: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "type":
            return "wrong_type", f"must be {_kind(limit)}, not {_kind_of(instance)}"
        case "pattern":
            title = rule.get("title", "text of another form")
            if looks_secret(instance):
                return "raw_secret", SHAPED_LIKE_ONE
            never = ", never the secret itself" if title.startswith(_REFERENCE) else ""
            return "wrong_value", f"must be {title}{never}"
        case "enum":
            if len(limit) == 1:
                return "wrong_value", f"must be {limit[0]}"
            return "wrong_value", f"must be one of {', '.join(map(str, limit))}{_close(instance, limit)}"
        case "minimum":
            return "out_of_range", f"must be at least {limit}"
        case "maximum":
            return "out_of_range", f"must be at most {limit}"
        case "exclusiveMinimum":
            return "out_of_range", f"must be above {limit:g}"
        case "maxLength":
            return "too_long", f"must have at most {limit} characters"
        case "minItems" | "minLength" | "minProperties":
            return "too_short", f"must have at least {limit}"
    return "wrong_value", f"does not fit the schema's {error.validator}"


def _close(instance: object, allowed: list[Any]) -> str:
    return nearest(instance, map(str, allowed)) if isinstance(instance, str) else ""


def _kind(names: object) -> str:
    return " or ".join(_KINDS[name] for name in ([names] if isinstance(names, str) else _strings(names)))


def _strings(names: object) -> list[str]:
    return [str(name) for name in names] if isinstance(names, list) else []


def _kind_of(value: object) -> str:
    match value:
        case None:
            return _KINDS["null"]
        case bool():
            return _KINDS["boolean"]
        case int() | float():
            return _KINDS["number"]
        case str():
            return _KINDS["string"]
        case list():
            return _KINDS["array"]
    return _KINDS["object"]


def _add_refused(value: Any, schema: dict[str, Any], faults: Faults) -> None:
    """The two libraries read a pattern's ``$`` apart (a final newline): the stricter one holds, and has the place."""
    for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(value):
        faults.error("wrong_value", tuple(error.instance_path), "does not have the form that is asked for here")
