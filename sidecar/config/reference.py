"""The configuration reference as Markdown: one table a section, from the generated schema."""

from __future__ import annotations

import json
from typing import Any

from sidecar.config.schemas import schema

_NULL = {"type": "null"}


def markdown() -> str:
    """Tables of every key of ``sidecar.yaml``: its type, default and meaning, in the order of the classes."""
    document = schema("config")
    sections = document["$defs"]
    lines: list[str] = []
    for name, paths in _walk(sections).items():
        section = sections[name]
        title = ", ".join(f"`{path}`" for path in paths) or "Top level"
        lines += [f"### {title}", "", section["description"].replace("``", "`"), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        required = section["required"]
        lines += [_row(key, rule, key in required) for key, rule in section["properties"].items()]
        lines.append("")
    return "\n".join(lines)


def _walk(sections: dict[str, Any]) -> dict[str, list[str]]:
    """Each section with the paths that lead to it, parents before children."""
    found: dict[str, list[str]] = {"Config": []}
    waiting = [("", "Config")]
    for path, name in waiting:
        for key, rule in sections[name]["properties"].items():
            at, target = _target(f"{path}.{key}".lstrip("."), rule)
            if target is not None:
                waiting += [] if target in found else [(at, target)]
                found.setdefault(target, []).append(at)
    return found


def _target(path: str, rule: dict[str, Any]) -> tuple[str, str | None]:
    rule = _without_null(rule)
    if "$ref" in rule:
        return path, rule["$ref"].rpartition("/")[2]
    if "$ref" in rule.get("items", {}):
        return f"{path}[]", rule["items"]["$ref"].rpartition("/")[2]
    inner = rule.get("additionalProperties")
    if isinstance(inner, dict) and "$ref" in inner:
        return f"{path}.<id>", inner["$ref"].rpartition("/")[2]
    return path, None


def _without_null(rule: dict[str, Any]) -> dict[str, Any]:
    return next((option for option in rule.get("anyOf", ()) if option != _NULL), rule)


def _row(key: str, rule: dict[str, Any], required: bool) -> str:
    default = "required" if required else _default(rule)
    meaning = rule.get("description", "").replace("|", "\\|")
    return f"| `{key}` | {_type(rule)} | {default} | {meaning} |"


def _default(rule: dict[str, Any]) -> str:
    value = rule.get("default")
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, dict):
        return "see below"
    return f"`{json.dumps(value)}`"


def _type(rule: dict[str, Any]) -> str:
    rule = _without_null(rule)
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "$ref" in rule:
        return "mapping"
    match rule.get("type"):
        case "array":
            return f"list of {_type(rule['items'])}"
        case "object":
            return "mapping by id" if isinstance(rule.get("additionalProperties"), dict) else "mapping"
        case "integer" | "number" as kind:
            return str(kind) + _bounds(rule)
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
    return "any"


def _bounds(rule: dict[str, Any]) -> str:
    low, above, high = rule.get("minimum"), rule.get("exclusiveMinimum"), rule.get("maximum")
    lower = f"from {low}" if low is not None else f"above {above:g}" if above is not None else ""
    upper = f"to {high}" if high is not None else ""
    return "".join(f" {part}" for part in (lower, upper) if part)
