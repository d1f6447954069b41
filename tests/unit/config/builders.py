"""A configuration that is right, for tests to break."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sidecar.config import cross
from sidecar.config.document import parse
from sidecar.config.faults import Fault, Faults
from sidecar.config.load import Examined, examine
from sidecar.config.sections import Config

GOOD: dict[str, Any] = {
    "tenant": "acme",
    "principals": {"reader": {"roles": ["analyst"], "keys": [{"id": "k1", "sha256": "0" * 64}]}},
    "credentials": {
        "crm-key": {"reference": "encrypted://crm", "hosts": ["crm.example.com:443"], "connectors": ["crm"]}
    },
    "connectors": {
        "crm": {
            "kind": "http",
            "base_url": "https://crm.example.com/v1",
            "auth": {"style": "bearer", "credential": "crm-key"},
            "operations": {
                "find": {
                    "method": "GET",
                    "path": "/customers/{id}",
                    "query": {"limit": "{limit}"},
                    "parameters": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {"id": {"type": "string"}, "limit": {"type": "integer"}},
                    },
                },
                "create": {"method": "POST", "path": "/customers"},
            },
        }
    },
    "sources": {"customers": {"connector": "crm"}},
    "planes": {"customers": {"source": "customers", "actions": {"query": ["find"]}}},
}


def changed(path: str, value: Any, base: dict[str, Any] = GOOD) -> dict[str, Any]:
    """A copy of ``base`` with ``value`` at a dotted ``path``; the value ``...`` takes the key away."""
    document = copy.deepcopy(base)
    *steps, last = path.split(".")
    inner: Any = document
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner.setdefault(step, {})
    if value is ...:
        del inner[last]
    elif isinstance(inner, list):
        inner[int(last)] = value
    else:
        inner[last] = value
    return document


def found(document: dict[str, Any]) -> Faults:
    """What the cross-checks find in a document that fits the schema."""
    faults = Faults("sidecar.yaml", parse(yaml.safe_dump(document, sort_keys=False).encode()))
    cross.check(msgspec.convert(document, Config), faults)
    return faults


def codes(faults: Faults) -> list[tuple[str, str]]:
    """Code and path of every error."""
    return [(fault.code, fault.path) for fault in faults.errors]


def written(folder: Path, document: dict[str, Any] | str) -> Path:
    """``sidecar.yaml`` in ``folder``."""
    file = folder / "sidecar.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return file


def examined(folder: Path, document: dict[str, Any] | str) -> Examined:
    """A document as a file, examined with no environment and no flags."""
    return examine(written(folder, document), {}, {})


def warned(faults: Faults) -> list[tuple[str, str]]:
    """Code and path of every warning."""
    return [(fault.code, fault.path) for fault in faults.warnings]


def lines(errors: tuple[Fault, ...]) -> list[tuple[int | None, str]]:
    """Line and path of every error."""
    return [(fault.line, fault.path) for fault in errors]
