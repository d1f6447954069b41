"""Everything ``sidecar.yaml`` may say: one frozen class a section, with its defaults and bounds.

The JSON Schema ``schemas/config.schema.json`` and the README's reference are generated from these classes. A bound
that is missing cannot be written: there is no "unlimited". Sizes are bytes, durations seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$", description="lower-case id")]
Label = dict[str, str]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 40)]
Port = Annotated[int, Meta(ge=1, le=65535)]
HostPort = Annotated[str, Meta(pattern=r"^[^\s/@]+:\d{1,5}$", description="host:port")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
ReferenceText = Annotated[
    str,
    Meta(
        pattern=r"^(vault|encrypted|env)://[^\s#]+(#[^\s#]+)?$",
        description="a reference, never the secret itself: vault://path#field, encrypted://id or env://NAME",
    ),
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file: unknown keys are refused."""


class Key(Section, frozen=True, kw_only=True):
    """An API key: its id and the SHA-256 of the whole ``scp_...`` string. ``sidecar keys new`` makes one."""

    id: Name
    sha256: Sha256


class PrincipalSection(Section, frozen=True, kw_only=True):
    """A caller, and the keys that prove it."""

    kind: Literal["agent", "workload", "person", "system"] = "agent"
    tenant: Name | None = None
    roles: tuple[Name, ...] = ()
    labels: Label = {}
    keys: tuple[Key, ...] = ()


class CredentialSection(Section, frozen=True, kw_only=True):
    """A secret by reference, and the only places it may be used."""

    reference: ReferenceText
    hosts: Annotated[tuple[HostPort, ...], Meta(min_length=1)]
    connectors: Annotated[tuple[Name, ...], Meta(min_length=1)]
    positions: tuple[Literal["bearer", "basic", "header", "query"], ...] = ("bearer",)


class Auth(Section, frozen=True, kw_only=True):
    """How a credential enters a request: ``name`` is the header or query field, ``username`` is for basic."""

    style: Literal["bearer", "basic", "header", "query"]
    credential: Name
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    username: str | None = None


class Rate(Section, frozen=True, kw_only=True):
    """At most ``requests`` per ``per``, evenly spaced, with ``burst`` at once (GCRA)."""

    requests: Count
    per: Literal["second", "minute", "hour"] = "second"
    burst: Count = 10


class Retry(Section, frozen=True, kw_only=True):
    """Tries in all, for idempotent requests only; the pause doubles from ``backoff_seconds`` with full jitter."""

    attempts: Annotated[int, Meta(ge=1, le=5)] = 2
    backoff_seconds: Seconds = 0.1


class Breaker(Section, frozen=True, kw_only=True):
    """After ``failures`` in a row the circuit opens for ``open_seconds``; then one probe decides."""

    failures: Count = 5
    open_seconds: Seconds = 10.0


class Timeouts(Section, frozen=True, kw_only=True):
    """Each bounds one phase of an upstream exchange; ``total_seconds`` bounds them together."""

    connect_seconds: Seconds = 3.0
    head_seconds: Seconds = 15.0
    idle_seconds: Seconds = 15.0
    total_seconds: Seconds = 30.0


class Answer(Section, frozen=True, kw_only=True):
    """What an operation accepts back. No content types means any."""

    max_bytes: Bytes = 1 << 20
    content_types: tuple[str, ...] = ()


class OperationSection(Section, frozen=True, kw_only=True):
    """One HTTP template. ``{name}`` in a value stands for a parameter; in the path it is percent-encoded whole.

    ``body`` is a JSON template in which a string that is exactly ``"{name}"`` becomes the parameter, typed.
    ``parameters`` is a JSON Schema 2020-12 of the payload's ``parameters`` object.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, Meta(pattern=r"^/[^?#\s]*$")]
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: Any = None
    parameters: dict[str, Any] | None = None
    effect: Literal["read", "write"] | None = None
    idempotent: bool | None = None
    idempotency_header: str | None = None
    answer: Answer = Answer()
    interpreter: Literal["passthrough", "json"] = "passthrough"
    stream: bool = False
    labels: Label = {}
    policy_headers: tuple[str, ...] = ()


class ConnectorSection(Section, frozen=True, kw_only=True):
    """A machine-controlled destination and its templates."""

    kind: Literal["http"]
    base_url: Annotated[str, Meta(pattern=r"^https?://[^\s?#]+$")]
    ca_file: str | None = None
    auth: Auth | None = None
    labels: Label = {}
    rate: Rate = Rate(requests=1000, per="second", burst=1000)
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 128
    connections: Annotated[int, Meta(ge=1, le=1_000)] = 64
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    timeouts: Timeouts = Timeouts()
    operations: dict[Name, OperationSection] = {}


class SourceSection(Section, frozen=True, kw_only=True):
    """A data source: which connector serves it."""

    connector: Name


class PlaneSection(Section, frozen=True, kw_only=True):
    """A knowledge plane: the name an agent uses, and the operations behind each action. Planes bind reads only."""

    source: Name
    owner: str | None = None
    actions: dict[Literal["query", "retrieve", "search", "list"], Annotated[tuple[Name, ...], Meta(min_length=1)]]


class DestinationSection(Section, frozen=True, kw_only=True):
    """A grant for a name on a loopback or private network. Without one, only public addresses are dialled."""

    name: str
    port: Port
    networks: Annotated[tuple[str, ...], Meta(min_length=1)]
    addresses: tuple[str, ...] = ()


class LimitsSection(Section, frozen=True, kw_only=True):
    """Bounds of the agent's door, and each principal's rate."""

    principal: Rate = Rate(requests=10_000, per="second", burst=10_000)
    in_flight: Count = 1024
    connections: Count = 4096
    body_bytes: Annotated[int, Meta(ge=1, le=16 << 20)] = 1 << 20
    head_bytes: Annotated[int, Meta(ge=1024, le=1 << 18)] = 1 << 14
    headers: Annotated[int, Meta(ge=1, le=1000)] = 100
    head_seconds: Seconds = 10.0
    body_seconds: Seconds = 30.0
    idle_seconds: Seconds = 75.0


class PolicySection(Section, frozen=True, kw_only=True):
    """Where the Rego and its data are. ``library`` adds the shipped rules under ``data.sidecar.authz``."""

    directory: str = "policy"
    library: bool = True
    quick_ms: Annotated[float, Meta(gt=0, le=100)] = 5.0
    budget_ms: Annotated[float, Meta(gt=0, le=5000)] = 100.0


class EvidenceSection(Section, frozen=True, kw_only=True):
    """Where evidence is kept, and the size a segment file grows to."""

    directory: str = "evidence"
    segment_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 32)] = 1 << 28
    reserve_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 30)] = 4 << 20


class StoreSection(Section, frozen=True, kw_only=True):
    """The sealed store of ``encrypted://`` credentials and the file its master key is in."""

    directory: str = "credentials"
    key_file: str = "credentials/master.key"
    allow_environment: bool = False  # env:// references: development only


class DoorsSection(Section, frozen=True, kw_only=True):
    """Where the sidecar listens. The access door must be on a loopback address."""

    access: HostPort = "127.0.0.1:8080"
    metrics: HostPort = "127.0.0.1:9464"
    admin_socket: str = "admin.sock"


class Config(Section, frozen=True, kw_only=True):
    """``sidecar.yaml``. Relative paths are relative to the file's own folder."""

    tenant: Name
    principals: dict[Name, PrincipalSection] = {}
    credentials: dict[Name, CredentialSection] = {}
    connectors: dict[Name, ConnectorSection] = {}
    sources: dict[Name, SourceSection] = {}
    planes: dict[Name, PlaneSection] = {}
    destinations: dict[Name, DestinationSection] = {}
    limits: LimitsSection = LimitsSection()
    policy: PolicySection = PolicySection()
    evidence: EvidenceSection = EvidenceSection()
    store: StoreSection = StoreSection()
    doors: DoorsSection = DoorsSection()
