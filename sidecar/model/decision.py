"""The policy's contract: one total input, one answer, and the proof of an allow.

Every key of the input is always there, ``null`` where unknown, so that plain references and ``not`` in Rego mean
what they say. The JSON Schemas in ``schemas/`` are generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

INPUT_VERSION = 1
Positive = Annotated[int, Meta(ge=1, le=1 << 53)]
# RFC 6901 section 3; the last group because $ also stands before a line's end
Pointer = Annotated[str, Meta(pattern=r"^(/([^~/]|~[01])*)*$(?!\n)", title="a JSON Pointer such as /customer/email")]


class PrincipalFacts(Struct, frozen=True):
    """Who asks, as policy sees it."""

    id: str
    kind: str
    roles: tuple[str, ...]
    labels: dict[str, str]


class ConnectorFacts(Struct, frozen=True):
    """Where the call would go, as policy sees it."""

    id: str
    kind: str
    labels: dict[str, str]


class OperationFacts(Struct, frozen=True):
    """Which template would run, as policy sees it."""

    id: str
    labels: dict[str, str]


class RequestFacts(Struct, frozen=True):
    """The request that would be sent, before any credential: chosen headers only."""

    scheme: str
    method: str
    host: str
    port: int
    path: str
    query: str
    headers: dict[str, str]


class DestinationFacts(Struct, frozen=True):
    """The resolved destination. Null in the input until the name has been looked up."""

    host: str
    port: int
    addresses: tuple[str, ...]


class Usage(Struct, frozen=True):
    """Names of the thresholds that are crossed; never counters, so that decisions stay cacheable."""

    over: tuple[str, ...] = ()


class Finding(Struct, frozen=True):
    """Something a check noticed that policy may act on."""

    code: str
    message: str


class Moment(Struct, frozen=True):
    """Coarse time in UTC: minute 0-59, hour 0-23, weekday 0-6 from Monday, date ``YYYY-MM-DD``."""

    minute: int
    hour: int
    weekday: int
    date: str


class PolicyInput(Struct, frozen=True, kw_only=True):
    """The total, versioned input of ``data.sidecar.authz.decision``, the same on every surface."""

    version: int = INPUT_VERSION
    tenant: str
    principal: PrincipalFacts
    session: str | None
    surface: str
    action: str
    effect: str  # read | write
    plane: str | None
    connector: ConnectorFacts | None
    operation: OperationFacts | None
    parameters: Any
    request: RequestFacts | None
    destination: DestinationFacts | None
    usage: Usage
    switches: tuple[str, ...]
    findings: tuple[Finding, ...]
    time: Moment


class PolicyReason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the policy decided so."""

    code: str
    message: str


class Obligations(Struct, frozen=True, forbid_unknown_fields=True):
    """What the sidecar must do when it allows. An obligation that is not one of these is a deny."""

    mask: tuple[Pointer, ...] = ()  # answer values to mask; * matches any member
    max_rows: Positive | None = None
    max_bytes: Positive | None = None  # answer bytes
    timeout_ms: Positive | None = None
    require_approval: bool = False
    record_bodies: bool = False


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole answer of the policy. Anything that does not decode to exactly this is a deny."""

    allow: bool
    reasons: tuple[PolicyReason, ...]
    obligations: Obligations


class Verdict(Struct, frozen=True):
    """What an engine returns: the answer's bytes as the policy gave them (None: undefined), and by which revision."""

    revision: str
    answer: bytes | None


class Reads(Struct, frozen=True):
    """All that the answers of one policy may depend on, besides data, which ``revision`` covers.

    ``paths`` begin with ``input`` or ``data`` and end before the first part that is not a constant.
    """

    revision: str
    paths: tuple[tuple[Any, ...], ...]
    builtins: tuple[str, ...]


class Permit(Struct, frozen=True):
    """The proof of an allow, built in ``pipeline/decide.py`` and nowhere else (a test holds this)."""

    call_id: str
    connector: str
    operation: str
    revision: str
    obligations: Obligations
