"""What is sent to the administrators' door, beside the sections that stand as they do in ``sidecar.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from sidecar.config.sections import Name
from sidecar.errors import Refused

Body = TypeVar("Body", bound=Struct)
Text = Annotated[str, Meta(max_length=500, title="at most 500 characters")]
Micros = Annotated[int, Meta(ge=0, le=1 << 53, title="microseconds since the epoch")]
_QUOTED = re.compile(r"'[^']*'")


class Sent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body: unknown members are refused."""


class Run(Sent, frozen=True, kw_only=True):
    """One operation's parameters, as agents send them."""

    parameters: dict[str, Any] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class Trial(Sent, frozen=True, kw_only=True):
    """The parameters of a test."""

    parameters: dict[str, Any] | None = None


class Connect(Sent, frozen=True, kw_only=True):
    """With an operation, the connector is connected only once that went through."""

    operation: Name | None = None
    parameters: dict[str, Any] | None = None


class SourceTest(Sent, frozen=True, kw_only=True):
    """Which operation of the source's connector to run."""

    operation: Name
    parameters: dict[str, Any] | None = None


class KeyOrder(Sent, frozen=True, kw_only=True):
    """Whose key to make, and when it ends."""

    principal: Name
    expires: Micros | None = None


class Rotation(Sent, frozen=True, kw_only=True):
    """How long the old key goes on."""

    grace_seconds: Annotated[int, Meta(ge=0, le=30 * 86400)] = 3600


class Expiry(Sent, frozen=True, kw_only=True):
    """When a key ends; a moment that has passed ends it now."""

    at: Micros


class Why(Sent, frozen=True, kw_only=True):
    """Why it is done: kept with it, and shown to whom it concerns."""

    reason: Text = ""


class Activate(Sent, frozen=True, kw_only=True):
    """Which bundle: a file of the sidecar's machine, or what the configured source has."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    reason: Text = ""


class Rollback(Sent, frozen=True, kw_only=True):
    """To which bundle: a digest or its first digits, a revision or a sequence; by default the one before."""

    to: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    reason: Text = ""


def decoded(value: Any, kind: type[Body]) -> Body:
    """``value`` as a ``kind``. Raises ``Refused("invalid_payload")``, which repeats no value."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # msgspec quotes a wrong word of an enumeration; names of fields it puts in backticks
        detail = _QUOTED.sub("the value", str(error))
        raise Refused("invalid_payload", f"The body is not what this route takes: {detail}.") from None
