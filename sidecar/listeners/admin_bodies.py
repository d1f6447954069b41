"""What is sent to the administrators' door, beside the sections that stand as they do in ``sidecar.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sidecar.config.fields import Name
from sidecar.errors import Refused
from sidecar.model.credential import Terms
from sidecar.model.secret import SHORTEST, Secret
from sidecar.rules.credential_terms import LONGEST_ROTATION, VALUE_LIMIT

Body = TypeVar("Body", bound=Struct)
Text = Annotated[
    str,
    Meta(
        max_length=500,
        # It is shown on other people's terminals. To Python a $ alone is also before a line end that comes last.
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$(?!\n)",
        title="at most 500 printable characters on one line",
    ),
]
Kind = Annotated[str, Meta(max_length=32, title="a type of credential")]
Days = Annotated[int, Meta(ge=1, le=LONGEST_ROTATION, title="days")]
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


class Confidential(Sent, frozen=True, kw_only=True):
    """A body with a secret in it: nothing of it is repeated, not even the name of a member that is none."""


class Stored(Confidential, frozen=True, kw_only=True):
    """A credential's value with all its terms: what is not said does not hold."""

    value: Secret
    kind: Kind | None = None
    expires: Micros | None = None
    rotate_days: Days | None = None

    @property
    def terms(self) -> Terms:
        """What is said beside the value."""
        return Terms(kind=self.kind, expires=self.expires, rotate_days=self.rotate_days)


class Rotated(Confidential, frozen=True, kw_only=True):
    """A credential's next value, and its end if it has one. Type and promised rotation stay."""

    value: Secret
    expires: Micros | None = None


class Amended(Confidential, frozen=True, kw_only=True):
    """Other terms of the same value: null takes one away, what is not named stays (RFC 7396)."""

    kind: Kind | UnsetType | None = UNSET
    expires: Micros | UnsetType | None = UNSET
    rotate_days: Days | UnsetType | None = UNSET

    def over(self, terms: Terms) -> Terms:
        """These terms over the present ones."""
        return Terms(
            kind=terms.kind if isinstance(self.kind, UnsetType) else self.kind,
            expires=terms.expires if isinstance(self.expires, UnsetType) else self.expires,
            rotate_days=terms.rotate_days if isinstance(self.rotate_days, UnsetType) else self.rotate_days,
        )


def decoded(value: Any, kind: type[Body]) -> Body:
    """``value`` as a ``kind``. Raises ``Refused("invalid_payload")``, which repeats no value."""
    try:
        return msgspec.convert(value, kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        if issubclass(kind, Confidential):
            raise Refused("invalid_payload", _takes(kind)) from None
        # msgspec quotes a wrong word of an enumeration; names of fields it puts in backticks
        detail = _QUOTED.sub("the value", str(error))
        raise Refused("invalid_payload", f"The body is not what this route takes: {detail}.") from None


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON Schema of what no other library knows. Raises ``NotImplementedError``."""
    if kind is not Secret:
        raise NotImplementedError
    return {
        "type": "string",
        "minLength": SHORTEST,
        "maxLength": VALUE_LIMIT,
        "format": "password",
        "writeOnly": True,
    }


def _secret(kind: type, value: Any) -> Secret:
    if kind is not Secret or not isinstance(value, str):
        raise TypeError("not text")
    secret = Secret(value)
    if not SHORTEST <= len(secret) <= VALUE_LIMIT:
        raise ValueError("too short or too long")
    return secret


def _takes(kind: type[Struct]) -> str:
    """What a body is made of, without a word of what was sent."""
    members = ", ".join(f"{field.name} ({_FORMS[field.name]})" for field in msgspec.structs.fields(kind))
    return f"The body is not what this route takes: {members}. Nothing of it is repeated here."


_FORMS = {
    "value": f"text of {SHORTEST} to {VALUE_LIMIT} bytes",
    "kind": "a type of credential, or null",
    "expires": "microseconds since the epoch, or null",
    "rotate_days": f"1 to {LONGEST_ROTATION}, or null",
}
