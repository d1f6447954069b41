"""JSON values compared as Rego compares them: numbers by value, and no number like a boolean."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def parse(text: str | bytes) -> Any:
    """JSON with every digit of its numbers."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def plain(value: Any) -> Any:
    """A value that equals another, and hashes as it does, exactly where Rego calls the two JSON values equal."""
    if value is None or isinstance(value, bool):
        return (str(value),)
    if isinstance(value, dict):
        return "object", frozenset((name, plain(member)) for name, member in value.items())
    if isinstance(value, list):
        return "list", *(plain(item) for item in value)
    return ("string", value) if isinstance(value, str) else ("number", Decimal(str(value)))
