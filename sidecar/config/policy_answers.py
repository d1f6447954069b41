"""What a customer's rules answer, checked before they run: OPA's own check knows the fields of the input alone.

Reads modules as ``opa parse --format json --json-include locations`` gives them. The rules that a sidecar asks for
are ``allow``, ``deny`` and ``obligations`` of ``package sidecar.custom``, and ``decision`` of ``package
sidecar.authz`` where the shipped rules are not used. What they are given as literals must have the members, and the
types, of ``model.decision``; what is computed is checked when it is tested. A rule of ``sidecar.custom`` that nobody
asks for and whose name is nearly one of the three is taken for a misspelt one: a ``denny`` would deny nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from sidecar.config.faults import Fault, in_order, nearest
from sidecar.model.decision import Decision, Obligations, PolicyReason

Term = dict[str, Any]

CUSTOM: Final = ("data", "sidecar", "custom")
AUTHZ: Final = ("data", "sidecar", "authz")
ASKED: Final = ("allow", "deny", "obligations")
_NEAR: Final = 0.8  # of difflib's ratio: `allowed` is near, `denied` is not
_COMPUTED: Final = object()
_PLAINER: Final = {"mask": "must be a list of JSON Pointers (RFC 6901) such as /customer/email"}  # than a pattern


def answer_faults(modules: Sequence[dict[str, Any]]) -> tuple[Fault, ...]:
    """Everything that the modules answer and no sidecar understands, in the order of files and lines."""
    used = {name for module in modules for rule in module.get("rules", ()) for name in _names(rule)}
    found: list[Fault] = []
    for module in modules:
        package = tuple(term["value"] for term in module["package"]["path"])
        for rule in module.get("rules", ()):
            if package == CUSTOM:
                found += _custom(rule, used)
            elif package == AUTHZ and _name(rule) == "decision":
                found += _values(rule, Decision)
    return tuple(fault for source in sorted({f.source for f in found}) for fault in _of(found, source))


def _of(found: list[Fault], source: str) -> tuple[Fault, ...]:
    return in_order(fault for fault in found if fault.source == source)


def _custom(rule: Term, used: set[str]) -> Iterator[Fault]:
    match _name(rule):
        case "allow":
            yield from _allow(rule)
        case "deny":
            yield from _deny(rule)
        case "obligations":
            yield from _obligations(rule)
        case name if name not in used and (close := difflib.get_close_matches(name, ASKED, 1, _NEAR)):
            message = f"nothing asks for a rule of this name; did you mean '{close[0]}'?"
            yield _fault("unknown_rule", rule["head"], name, message)


def _allow(rule: Term) -> Iterator[Fault]:
    for term, _ in _heads(rule, "value"):
        if not _may_be_boolean(term):
            yield _fault("wrong_type", term, "allow", "must be true or false")


def _deny(rule: Term) -> Iterator[Fault]:
    for term, body in _heads(rule, "key"):
        reason = _resolved(term, body)
        if reason["type"] == "object":
            yield from _object(reason, PolicyReason, "deny")
        elif reason["type"] not in {"var", "ref", "call"}:
            yield _fault("wrong_type", term, "deny", 'must be an object such as {"code": "...", "message": "..."}')
    if "key" not in rule["head"]:
        for term, _ in _heads(rule, "value"):
            if not _may_be_boolean(term) and term["type"] not in {"set", "setcomprehension"}:
                yield _fault("wrong_type", term, "deny", "must be a set: deny contains {...}")


def _obligations(rule: Term) -> Iterator[Fault]:
    path = rule["head"].get("ref", [])
    if len(path) < 2:  # the whole object at once
        yield from _values(rule, Obligations)
    elif path[1]["type"] == "string":  # one member, as in obligations.max_bytes := 10
        for term, _ in _heads(rule, "value"):
            yield from _member(path[1], term, Obligations, "obligations")


def _values(rule: Term, kind: type[Struct]) -> Iterator[Fault]:
    name = _name(rule)
    for term, body in _heads(rule, "value"):
        value = _resolved(term, body)
        if value["type"] == "object":
            yield from _object(value, kind, name)
        elif _literal(value) is not _COMPUTED:
            yield _fault("wrong_type", term, name, "must be an object")


def _object(term: Term, kind: type[Struct], path: str) -> Iterator[Fault]:
    keys = {key["value"] if key["type"] == "string" else None for key, _ in term["value"]}
    for key, value in term["value"]:
        if key["type"] == "string":
            yield from _member(key, value, kind, path)
    if keys <= set(kind.__struct_fields__):  # else the one that seems missing is computed or misspelt
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in keys:
                yield _fault("missing_key", term, path, f"the key '{field.name}' is missing")


def _member(key: Term, value: Term, kind: type[Struct], path: str) -> Iterator[Fault]:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    name = key["value"]
    if name not in fields:
        near = nearest(name, fields) or "; known: " + ", ".join(fields)
        yield _fault("unknown_key", key, f"{path}.{name}", f"there is no such key{near}")
        return
    literal = _literal(value)
    if literal is not _COMPUTED:
        try:
            msgspec.convert(literal, fields[name])
        except msgspec.ValidationError as error:
            told = _PLAINER.get(name, str(error))
            yield _fault("wrong_type", {"location": key["location"], **value}, f"{path}.{name}", told)


def _heads(rule: Term | None, part: str) -> Iterator[tuple[Term, list[Term]]]:
    """The key or value of a rule and of each of its ``else`` branches, with the body it belongs to."""
    while rule is not None:
        head = rule["head"]
        if part in head:  # OPA's shared terms, such as true, know no place of their own
            yield {"location": head["location"], **head[part]}, rule.get("body", [])
        rule = rule.get("else")


def _resolved(term: Term, body: list[Term]) -> Term:
    """What a variable is assigned in the same body, when it is assigned a literal."""
    if term["type"] != "var":
        return term
    for expression in body:
        terms = expression["terms"]
        if isinstance(terms, list) and len(terms) == 3 and _assigns(terms[0]) and terms[1]["value"] == term["value"]:
            return {**terms[2], "location": terms[2].get("location", term["location"])}
    return term


def _assigns(term: Term) -> bool:
    return term["type"] == "ref" and term["value"][0]["value"] in {"assign", "eq"}


def _literal(term: Term) -> Any:
    match term["type"]:
        case "string" | "number" | "boolean":
            return term["value"]
        case "null":  # whose value OPA writes as an object
            return None
        case "array":
            items = [_literal(item) for item in term["value"]]
            return _COMPUTED if _COMPUTED in items else items
        case "object" if not term["value"]:
            return {}
    return _COMPUTED


def _may_be_boolean(term: Term) -> bool:
    literal = _literal(term)
    return literal is _COMPUTED or isinstance(literal, bool)


def _name(rule: Term) -> str:
    head = rule["head"]
    return str(head.get("name") or head["ref"][0]["value"])


def _names(node: Any) -> Iterator[str]:
    """Every name that is referred to: variables, and constant parts of references; not what the heads are called."""
    if isinstance(node, list):
        for item in node:
            yield from _names(item)
    elif isinstance(node, dict):
        if node.get("type") in {"var", "string"}:
            yield str(node["value"])
        for key, item in node.items():
            if key == "head":
                yield from _names([item.get("key"), item.get("value"), item.get("args"), item.get("ref", [])[1:]])
            elif key != "location":
                yield from _names(item)


def _fault(code: str, term: Term, path: str, message: str) -> Fault:
    place = term["location"]
    return Fault(code, place["file"], place["row"], place["col"], path, message)
