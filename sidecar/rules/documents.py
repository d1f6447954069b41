"""JSON that two readers cannot read two ways: no duplicate names, no infinities, bounded depth (RFC 8259, H19)."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from sidecar.errors import Refused

# Up to this size counting members in Python is cheaper than a second parse; above it the parse is.
_COUNTED_BYTES: Final = 1 << 14


def parse_json(raw: bytes) -> Any:
    """The document. Raises ``Refused("invalid_json")``; the reason never quotes the body."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_json", f"The body is not JSON this door accepts: {error}.") from None
    # Every member has one colon outside strings: where no more colons stand than members were read, no name came
    # twice. Colons inside strings only cost the second look.
    counted = len(raw) <= _COUNTED_BYTES and raw.count(b":") == _members(value)
    if not counted and _repeats_a_name(raw):
        raise Refused("invalid_json", "The body names a member twice; which one counts would be a guess.")
    return value


def _members(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_members, value.values()))
    if isinstance(value, list):
        return sum(map(_members, value))
    return 0


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
    except RecursionError:
        raise Refused("invalid_json", "The body is nested too deeply.") from None
    return False
