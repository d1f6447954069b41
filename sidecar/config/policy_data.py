"""What security grants, as data, checked before it is used: a misspelt limit would grant more than was meant.

The shape of ``data.sidecar`` is that of the shipped rules (``rego/sidecar/authz``): ``grants`` and ``clearances`` by
tenant and principal or role, ``break_glass`` by tenant, ``thresholds`` by tenant and name. Other data is the
customer's own and has any shape.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import jsonschema_rs
import orjson

from sidecar.config.document import DocumentError, JsonPath, parse
from sidecar.config.explain import explain
from sidecar.config.faults import Fault, Faults, in_order, show

_TEXT: Final = {"type": "string", "minLength": 1}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_CLOCK: Final = {
    "type": "string",
    "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
    "title": "a time of day, UTC, such as 09:00",
}
_UNTIL: Final = {
    "type": "string",
    "pattern": r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]Z$",
    "title": "a minute, UTC, such as 2030-12-31T18:00Z",
}
_EFFECTS: Final = {"type": "array", "items": {"type": "string", "enum": ["read", "write"]}}
_DAYS: Final = {"type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
_GRANT: Final[dict[str, Any]] = {
    "connector": _TEXT,
    "operations": {
        "type": ["array", "string"],
        "items": _TEXT,
        "pattern": r"^\*$",
        "title": "a list of operation ids, or '*'",
    },
    "effects": _EFFECTS,
    "planes": _TEXTS,
    "weekdays": {"type": "array", "items": _DAYS},
    "hours": {"type": "array", "items": _CLOCK, "minItems": 2, "maxItems": 2},
    "until": _UNTIL,
}
_SHORT: Final = {
    "type": "string",
    "pattern": r"^[^/*]+/([^/*]+|\*)$",
    "title": "'connector/operation' or 'connector/*'",
}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _by_id(inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": inner}


def _held(item: dict[str, Any]) -> dict[str, Any]:
    """By tenant, a list of items for each principal and role."""
    lists = _by_id({"type": "array", "items": item})
    return _by_id(_object({"principals": lists, "roles": lists}))


@cache
def data_schema() -> dict[str, Any]:
    """The JSON Schema of a policy's whole base document."""
    grant = {
        "if": {"type": "string"},
        "then": _SHORT,
        "else": _object(_GRANT, "connector", "operations"),
    }
    emergency = _object(
        _GRANT | {"principals": _TEXTS, "roles": _TEXTS, "why": _TEXT}, "connector", "operations", "until"
    )
    known = {
        "grants": _held(grant),
        "clearances": _held(_TEXT),
        "break_glass": _by_id({"type": "array", "items": emergency}),
        "thresholds": _by_id(_by_id(_object({"deny": _EFFECTS}, "deny"))),
        "custom": {},
    }
    return {"type": "object", "properties": {"sidecar": _object(known)}}


class _Nested(Faults):
    """Faults of a document that lies at ``folder`` of the whole."""

    def __init__(self, source: str, folder: JsonPath) -> None:
        super().__init__(source)
        self._folder = folder

    def _fault(self, code: str, path: JsonPath, message: str, key: bool) -> Fault:
        if self.document is None:
            return super()._fault(code, path, message, key)
        place = self.document.place(path[len(self._folder) :], key=key)
        return Fault(code, self.source, place.line, place.column, show(path), message)


def data_faults(content: bytes, source: str, folder: tuple[str, ...]) -> tuple[Fault, ...]:
    """Everything of one data file (YAML or JSON) that the shipped rules would not understand.

    ``folder`` is the file's folder in the policy directory: its content is the data at that path.
    """
    faults = _Nested(source, folder)
    document = None
    try:
        document = parse(content)
        value = document.value
    except DocumentError as error:  # a JSON file may be indented with tabs, which YAML refuses
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError:
            for sentence, place in error.places:
                faults.text(sentence, place)
            return in_order(faults.errors)
    for part in reversed(folder):
        value = {part: value}
    if not _validator().is_valid(value):
        faults.document = document
        explain(value, data_schema(), faults)
    return in_order(faults.errors)


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(data_schema())
