"""Everything ``sidecar.yaml`` may say: one frozen class a section, with its defaults and bounds.

The JSON Schema ``schemas/config.schema.json`` and the README's reference are generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from sidecar.config.fields import (
    Action,
    Bytes,
    Capability,
    Count,
    HostPort,
    Label,
    Name,
    Port,
    ReferenceText,
    Seconds,
    Section,
    Sha256,
    SourceType,
    about,
)
from sidecar.config.policy_sections import PolicySection
from sidecar.config.remotes import AwsSection, VaultSection


class Key(Section, frozen=True, kw_only=True):
    """An API key: its id and the SHA-256 of the whole ``scp_...`` string. ``sidecar keys new`` makes one."""

    id: Annotated[Name, about("public part of the key, unique among all principals")]
    sha256: Annotated[Sha256, about("SHA-256 of the whole scp_... string, in hex")]


class PrincipalSection(Section, frozen=True, kw_only=True):
    """A caller, and the keys that prove it."""

    kind: Annotated[Literal["agent", "workload", "person", "system"], about("what the caller is; policy sees it")] = (
        "agent"
    )
    tenant: Annotated[
        Name | None, about("the caller's tenant, where it is not the sidecar's own: its calls get tenant_mismatch")
    ] = None
    roles: Annotated[tuple[Name, ...], about("roles that grants may name")] = ()
    labels: Annotated[Label, about("facts that policy may read")] = {}
    keys: Annotated[tuple[Key, ...], about("API keys; two at a time allow rotation without a failed call")] = ()


Style = Literal["bearer", "basic", "header", "query", "body", "certificate"]


class OAuthSection(Section, frozen=True, kw_only=True):
    """The client-credentials grant (RFC 6749 section 4.4): the credential's reference is the client's secret, and
    what is sent to the connector is the access token that the sidecar gets with it.
    """

    token_url: Annotated[
        str,
        Meta(pattern=r"^https://[^\s?#]+$", title="https://host[:port]/path"),
        about("the token endpoint; its address is checked like a connector's"),
    ]
    client_id: Annotated[str, Meta(min_length=1, max_length=256), about("the client's id")]
    scopes: Annotated[tuple[str, ...], about("scopes to ask for")] = ()
    audience: Annotated[str | None, about("audience to ask for, where the server wants one")] = None
    authentication: Annotated[
        Literal["basic", "body"], about("where the secret goes: a Basic header, or the form's body")
    ] = "basic"
    ca_file: Annotated[str | None, about("PEM file of the authorities to trust instead of the system's")] = None


class CredentialSection(Section, frozen=True, kw_only=True):
    """A secret by reference, and the only places it may be used."""

    reference: Annotated[
        ReferenceText,
        about(
            "where the secret lives, never the secret itself: vault://path#field, encrypted://id, aws://name#field "
            "or env://NAME"
        ),
    ]
    hosts: Annotated[tuple[HostPort, ...], Meta(min_length=1), about("the only host:port pairs it may be sent to")]
    connectors: Annotated[tuple[Name, ...], Meta(min_length=1), about("the only connectors that may use it")]
    positions: Annotated[tuple[Style, ...], about("the only places of a request it may enter")] = ("bearer",)
    oauth: Annotated[OAuthSection | None, about("get an access token with the secret, and send that instead")] = None


class Auth(Section, frozen=True, kw_only=True):
    """How a credential enters a request: ``name`` is the header or query field, ``username`` is for basic, ``path``
    is where in a JSON body; a certificate, with its key, proves the sidecar in the TLS handshake.
    """

    style: Annotated[Style, about("where the credential enters the request")]
    credential: Annotated[Name, about("id of the credential")]
    name: Annotated[
        Annotated[
            str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", title="at most 64 letters, digits, dashes, underscores")
        ]
        | None,
        about("header or query field, for the styles header and query"),
    ] = None
    username: Annotated[
        str | None,
        about("user name, for the style basic; a BASIC_AUTH credential may hold user:password instead"),
    ] = None
    path: Annotated[
        Annotated[str, Meta(pattern=r"^(/([^~/]|~[01])+)+$", title="a JSON Pointer, such as /auth/token")] | None,
        about("JSON Pointer of the body's member, for the style body; every operation has a body with its parent"),
    ] = None


class Rate(Section, frozen=True, kw_only=True):
    """At most ``requests`` per ``per``, evenly spaced, with ``burst`` at once (GCRA)."""

    requests: Annotated[Count, about("how many")]
    per: Annotated[Literal["second", "minute", "hour"], about("in what time")] = "second"
    burst: Annotated[Count, about("how many of them at once")] = 10


class Retry(Section, frozen=True, kw_only=True):
    """Tries in all, for idempotent requests only; the pause doubles from ``backoff_seconds`` with full jitter."""

    attempts: Annotated[int, Meta(ge=1, le=5), about("tries in all; 1 means no retry")] = 2
    backoff_seconds: Annotated[Seconds, about("first pause; doubled each time, with full jitter")] = 0.1


class Breaker(Section, frozen=True, kw_only=True):
    """After ``failures`` in a row the circuit opens for ``open_seconds``; then one probe decides."""

    failures: Annotated[Count, about("failures in a row that open the circuit")] = 5
    open_seconds: Annotated[Seconds, about("how long it stays open before one probe")] = 10.0


class Timeouts(Section, frozen=True, kw_only=True):
    """Each bounds one phase of an upstream exchange; ``total_seconds`` bounds them together."""

    connect_seconds: Annotated[Seconds, about("name lookup, connection and TLS")] = 3.0
    head_seconds: Annotated[Seconds, about("until the answer's head is complete")] = 15.0
    idle_seconds: Annotated[Seconds, about("between two reads of a body")] = 15.0
    total_seconds: Annotated[Seconds, about("the whole exchange")] = 30.0


class Answer(Section, frozen=True, kw_only=True):
    """What an operation accepts back. No content types means any."""

    max_bytes: Annotated[Bytes, about("largest answer; a larger one is answer_too_large")] = 1 << 20
    content_types: Annotated[tuple[str, ...], about("media types accepted; empty means any")] = ()


class OperationSection(Section, frozen=True, kw_only=True):
    """One HTTP template. ``{name}`` in a value stands for a parameter; in the path it is percent-encoded whole.

    ``body`` is a JSON template in which a string that is exactly ``"{name}"`` becomes the parameter, typed.
    ``parameters`` is a JSON Schema 2020-12 of the payload's ``parameters`` object.
    """

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], about("HTTP method")]
    path: Annotated[
        str,
        Meta(pattern=r"^/[^?#\s]*$", title="a path from / on, without query, fragment and spaces"),
        about("path template, appended to the base URL"),
    ]
    query: Annotated[dict[str, str], about("query fields; one whose parameter is absent is left out")] = {}
    headers: Annotated[dict[str, str], about("headers; one whose parameter is absent is left out")] = {}
    body: Annotated[Any, about("JSON template of the request body")] = None
    parameters: Annotated[
        dict[str, Any] | None,
        about("JSON Schema 2020-12 of the payload's parameters; without one the operation takes none"),
    ] = None
    effect: Annotated[
        Literal["read", "write"] | None, about("read or write; by default a GET reads and anything else writes")
    ] = None
    idempotent: Annotated[
        bool | None, about("whether it may be retried; by default GET, PUT and DELETE may (RFC 9110 section 9.2.2)")
    ] = None
    idempotency_header: Annotated[str | None, about("header that carries the caller's idempotency key")] = None
    answer: Annotated[Answer, about("what is accepted back")] = Answer()
    interpreter: Annotated[
        Literal["passthrough", "json"], about("who turns the raw answer into what the agent reads")
    ] = "passthrough"
    stream: Annotated[bool, about("pass the answer on as it arrives, with a durable record for each part")] = False
    labels: Annotated[Label, about("facts that policy may read")] = {}
    policy_headers: Annotated[tuple[str, ...], about("headers of the request that policy may read")] = ()


class ConnectorSection(Section, frozen=True, kw_only=True):
    """A machine-controlled destination and its templates."""

    kind: Annotated[Literal["http"], about("protocol")]
    base_url: Annotated[
        str,
        Meta(pattern=r"^https?://[^\s?#]+$", title="https://host[:port][/prefix]"),
        about("scheme, host, port and path prefix of every operation"),
    ]
    ca_file: Annotated[str | None, about("PEM file of the authorities to trust instead of the system's")] = None
    auth: Annotated[Auth | None, about("how calls are authenticated; without it no credential is sent")] = None
    labels: Annotated[Label, about("facts that policy may read")] = {}
    capabilities: Annotated[
        tuple[Capability, ...] | None,
        about("what it may be used for; by default all its kind can (http: read write query stream search)"),
    ] = None
    rate: Annotated[Rate, about("calls to this connector by everybody together")] = Rate(
        requests=1000, per="second", burst=1000
    )
    concurrency: Annotated[int, Meta(ge=1, le=10_000), about("calls in flight at once")] = 128
    connections: Annotated[int, Meta(ge=1, le=1_000), about("open connections at once")] = 64
    retry: Annotated[Retry, about("retries of idempotent requests")] = Retry()
    breaker: Annotated[Breaker, about("when calls are paused because the upstream fails")] = Breaker()
    timeouts: Annotated[Timeouts, about("bounds of each exchange")] = Timeouts()
    operations: Annotated[dict[Name, OperationSection], about("the templates that may run, by id")] = {}


class SourceSection(Section, frozen=True, kw_only=True):
    """A data source: which connector serves it."""

    connector: Annotated[Name, about("id of the connector that serves it")]
    type: Annotated[SourceType, about("what is behind it; connectors of kind http serve api and document")] = "api"


class PlaneSection(Section, frozen=True, kw_only=True):
    """A knowledge plane: the name an agent uses, and the operations behind each action. Planes bind reads only."""

    source: Annotated[Name, about("id of the data source behind it")]
    owner: Annotated[str | None, about("who answers for the plane")] = None
    actions: Annotated[
        dict[Action, Annotated[tuple[Name, ...], Meta(min_length=1)]],
        # msgspec leaves the names of a literal key out of the schema
        Meta(min_length=1, extra_json_schema={"propertyNames": {"enum": list(get_args(Action))}}),
        about("the operations behind each action; the payload may leave the operation out where there is one"),
    ]


class DestinationSection(Section, frozen=True, kw_only=True):
    """A grant for a name on a loopback or private network. Without one, only public addresses are dialled."""

    name: Annotated[str, about("host name or address that a connector dials")]
    port: Annotated[Port, about("the only port granted")]
    networks: Annotated[tuple[str, ...], Meta(min_length=1), about("CIDR networks its addresses may be in")]
    addresses: Annotated[tuple[str, ...], about("the only addresses granted; empty means any in the networks")] = ()


class LimitsSection(Section, frozen=True, kw_only=True):
    """Bounds of the agent's door, and each principal's rate."""

    principal: Annotated[Rate, about("calls of each principal")] = Rate(requests=10_000, per="second", burst=10_000)
    in_flight: Annotated[Count, about("calls in work at once; more get too_many_in_flight")] = 1024
    connections: Annotated[Count, about("open connections at the agent's door")] = 4096
    body_bytes: Annotated[int, Meta(ge=1, le=16 << 20), about("largest request body")] = 1 << 20
    head_bytes: Annotated[int, Meta(ge=1024, le=1 << 18), about("largest request head")] = 1 << 14
    headers: Annotated[int, Meta(ge=1, le=1000), about("most header lines in a request")] = 100
    head_seconds: Annotated[Seconds, about("until a request's head is complete")] = 10.0
    body_seconds: Annotated[Seconds, about("until a request's body is complete")] = 30.0
    idle_seconds: Annotated[Seconds, about("how long a connection may wait for its next request")] = 75.0


class EvidenceSection(Section, frozen=True, kw_only=True):
    """Where evidence is kept, and the size a segment file grows to."""

    directory: Annotated[str, about("folder of the log")] = "evidence"
    segment_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 32), about("size a segment file grows to")] = 1 << 28
    reserve_bytes: Annotated[
        int,
        Meta(ge=1 << 16, le=1 << 30),
        about("space kept for outcomes of calls in flight when the disk is full"),
    ] = 4 << 20


class StoreSection(Section, frozen=True, kw_only=True):
    """The sealed store of ``encrypted://`` credentials and the file its master key is in."""

    directory: Annotated[str, about("folder of the sealed credentials")] = "credentials"
    key_file: Annotated[str, about("file of the master key, mode 0600")] = "credentials/master.key"
    allow_environment: Annotated[bool, about("allow env:// references: development only")] = False


class RegistrySection(Section, frozen=True, kw_only=True):
    """Where what changes at run time is kept: kill switches, and what administrators register.

    One SQLite file is for one sidecar; sidecars of a tenant that share a PostgreSQL share their registry.
    """

    sqlite: Annotated[str, about("file of an embedded registry, made with mode 0600")] = "registry.db"
    postgres: Annotated[
        ReferenceText | None,
        about("reference to the URL of a shared registry (postgresql://...), which is a secret; over sqlite"),
    ] = None
    maximum_age_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, title="seconds from 1 to 3600"),
        about("how long calls go on while the registry cannot be read; then they get registry_unavailable"),
    ] = 60.0


class AdminTls(Section, frozen=True, kw_only=True):
    """TLS 1.2 or newer at the administrators' door. With ``client_ca``, a certificate proves who asks, like a key.

    A certificate names its principal by the URI ``spiffe://<domain>/principal/<id>``, by a DNS name that is the id,
    or, where it has neither, by its common name.
    """

    certificate: Annotated[str, about("PEM file of the door's certificate and its chain")]
    key: Annotated[str, about("PEM file of its private key, not readable by others")]
    client_ca: Annotated[str | None, about("PEM file of the authorities that sign administrators' certificates")] = (
        None
    )


class DoorsSection(Section, frozen=True, kw_only=True):
    """Where the sidecar listens. The access door is on a loopback address; the admin door too, unless it has TLS."""

    access: Annotated[HostPort, about("the agents' door; loopback only")] = "127.0.0.1:8080"
    metrics: Annotated[HostPort, about("metrics and probes")] = "127.0.0.1:9464"
    admin: Annotated[
        HostPort | None, about("the administrators' door; loopback unless it has TLS; null: the socket only")
    ] = "127.0.0.1:8081"
    admin_tls: Annotated[AdminTls | None, about("TLS of the administrators' door")] = None
    admin_socket: Annotated[str, about("Unix socket of the command line, mode 0600")] = "admin.sock"


class Config(Section, frozen=True, kw_only=True):
    """``sidecar.yaml``, in YAML 1.2: only ``true`` and ``false`` are booleans (``no`` and ``on`` are text).

    Relative paths are relative to the file's own folder. Ids are the keys of their maps.
    """

    tenant: Annotated[Name, about("the one tenant this sidecar serves")]
    principals: Annotated[dict[Name, PrincipalSection], about("who may call, by id")] = {}
    credentials: Annotated[dict[Name, CredentialSection], about("secrets by reference, by id")] = {}
    connectors: Annotated[dict[Name, ConnectorSection], about("machine-controlled destinations, by id")] = {}
    sources: Annotated[dict[Name, SourceSection], about("data sources, by id")] = {}
    planes: Annotated[dict[Name, PlaneSection], about("knowledge planes that agents name, by id")] = {}
    destinations: Annotated[
        dict[Name, DestinationSection], about("grants for loopback and private networks, by id")
    ] = {}
    limits: Annotated[LimitsSection, about("bounds of the agents' door")] = LimitsSection()
    policy: Annotated[PolicySection, about("where the policy is")] = PolicySection()
    evidence: Annotated[EvidenceSection, about("where evidence is kept")] = EvidenceSection()
    store: Annotated[StoreSection, about("where sealed credentials are")] = StoreSection()
    vault: Annotated[VaultSection | None, about("the vault of vault:// credentials")] = None
    aws: Annotated[AwsSection | None, about("the AWS Secrets Manager of aws:// credentials")] = None
    registry: Annotated[RegistrySection, about("where what changes at run time is kept")] = RegistrySection()
    doors: Annotated[DoorsSection, about("where the sidecar listens")] = DoorsSection()
