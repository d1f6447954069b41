"""JSON Schemas (draft 2020-12) of everything other people write or read, generated from the classes.

An editor checks ``sidecar.yaml`` as it is typed when its first line is
``# yaml-language-server: $schema=<path to>/config.schema.json``.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from sidecar.config.sections import Config
from sidecar.model.decision import Decision, PolicyInput
from sidecar.model.evidence import Leaf

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Subject(NamedTuple):
    kind: type[msgspec.Struct]
    title: str
    total: bool = False  # every key is always there


_SUBJECTS: Final[dict[str, _Subject]] = {
    "config": _Subject(Config, "sidecar.yaml"),
    "decision-input": _Subject(PolicyInput, "The input of data.sidecar.authz.decision", total=True),
    "decision": _Subject(Decision, "The answer of data.sidecar.authz.decision"),
    "evidence-leaf": _Subject(Leaf, "One evidence record, as stored"),
}

NAMES: Final = tuple(_SUBJECTS)


def generate() -> dict[str, dict[str, Any]]:
    """Every schema by name; the file is ``schemas/<name>.schema.json``."""
    return {name: schema(name) for name in NAMES}


def schema(name: str) -> dict[str, Any]:
    """One schema. Raises ``KeyError`` for a name that is not in ``NAMES``."""
    subject = _SUBJECTS[name]
    body = msgspec.json.schema(subject.kind)
    for definition in body["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
        if subject.total:
            definition["required"] = list(definition["properties"])
            definition["additionalProperties"] = False
    head = {"$schema": _DIALECT, "$id": f"urn:policy-sidecar:schema:{name}:1", "title": subject.title}
    plain: dict[str, Any] = orjson.loads(orjson.dumps(head | body))  # defaults that are tuples become lists
    return plain


def as_file(document: dict[str, Any]) -> bytes:
    """A schema's bytes in its file: two spaces, keys in the order of the classes, a newline at the end."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
