"""JSON that two readers cannot read two ways: no duplicate names, no infinities, bounded depth (RFC 8259, H19)."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from sidecar.errors import Refused

# Deeper documents serve nobody, and every later reader (schema, policy engine, encoder) has a limit of its own.
DEEPEST: Final = 100


def parse_json(raw: bytes) -> Any:
    """The document. Raises ``Refused("invalid_json")``; the reason never quotes the body."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_json", f"The body is not JSON this door accepts: {error}.") from None
    # Every member has one colon outside strings: where no more colons stand than members were read, no name came
    # twice. Colons inside strings only cost the second look.
    if raw.count(b":") != _members(value, DEEPEST) and _repeats_a_name(raw):
        raise Refused("invalid_json", "The body names a member twice; which one counts would be a guess.")
    return value


def _members(value: Any, levels: int) -> int:
    """How many members all objects in ``value`` have. Raises ``Refused`` when it nests deeper than ``levels``."""
    count = 0
    if type(value) is dict:
        count = len(value)
        value = value.values()
    elif type(value) is not list:
        return 0
    if not levels:
        raise Refused("invalid_json", f"The body is nested too deeply; {DEEPEST} levels are the most.")
    for item in value:
        if type(item) is dict or type(item) is list:
            count += _members(item, levels - 1)
    return count


class _RepeatedNameError(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) != len(pairs):
        raise _RepeatedNameError


def _repeats_a_name(raw: bytes) -> bool:
    try:
        json.loads(raw, object_pairs_hook=_pairs)
    except _RepeatedNameError:
        return True
    return False
