"""A request of the administrators' door as its routes see it, what they answer, and how they read a query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from sidecar.errors import Refused
from sidecar.model.call import Outcome
from sidecar.model.principal import Principal
from sidecar.operations.registered import MOST_LISTED

_PAGE: Final = 100


class Asked(NamedTuple):
    """A request that passed its guard. ``version`` is If-Match's: None for a new thing (``If-None-Match: *``);
    ``tag`` is the same of a route whose versions are another's, as text.
    """

    principal: Principal
    at: dict[str, str]
    query: dict[str, str]
    body: Any
    version: int | None = None
    tag: str | None = None


class Told(NamedTuple):
    """The answer: a value and its version as an ETag, or the outcome of a call."""

    value: Any = None
    status: int = 200
    version: int | str | None = None
    outcome: Outcome | None = None


Answer = Callable[[Asked], Awaitable[Told]]


def flag(asked: Asked, name: str) -> bool:
    """A true or false of the query; false where it is not there."""
    text = asked.query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused("invalid_payload", f"{name} is true or false.")
    return text == "true"


def number(text: str, name: str) -> int:
    """A number of the query, not below 0."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Refused("invalid_payload", f"{name} is a number.")
    return int(text)


def limit_of(asked: Asked) -> int:
    """How many to list at most."""
    limit = number(asked.query["limit"], "limit") if "limit" in asked.query else _PAGE
    if not 1 <= limit <= MOST_LISTED:
        raise Refused("invalid_payload", f"limit is a number from 1 to {MOST_LISTED}.")
    return limit
