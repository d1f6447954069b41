"""The configuration, compiled: what every call of one moment is checked against.

A catalogue is frozen and swapped whole on reload, so a call sees one configuration from its first step to its last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import jsonschema_rs
from msgspec import Struct
from msgspec.structs import replace

from sidecar.config.authority import base_url, host_port
from sidecar.config.kinds import capabilities
from sidecar.config.operations import effect
from sidecar.config.sections import Auth, Config, ConnectorSection, LimitsSection, OperationSection, Rate
from sidecar.model.credential import Binding, Reference
from sidecar.model.decision import ConnectorFacts, OperationFacts
from sidecar.model.principal import Principal
from sidecar.rules import references
from sidecar.rules.addresses import Grant, compile_grants
from sidecar.rules.templates import Template, compile_template

IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE"})  # RFC 9110 section 9.2.2, of the methods a template may have
_PER_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
MASKED_VALUE: Final = "the value"  # violations go into evidence, where what an agent sent is never repeated
_NO_PARAMETERS: Final[dict[str, Any]] = {"type": "object", "additionalProperties": False}


class Operation(Struct, frozen=True, kw_only=True):
    """One template of a connector, ready to run."""

    id: str
    method: str
    effect: str
    idempotent: bool
    template: Template
    schema: dict[str, Any]
    validator: Any  # a jsonschema_rs validator
    facts: OperationFacts
    policy_headers: frozenset[bytes]
    idempotency_header: bytes | None
    max_bytes: int
    content_types: frozenset[str]
    interpreter: str
    stream: bool


class Connector(Struct, frozen=True, kw_only=True):
    """A machine-controlled destination, ready to be called."""

    id: str
    kind: str
    scheme: str
    host: str
    port: int
    facts: ConnectorFacts
    auth: Auth | None
    binding: Binding | None
    section: ConnectorSection
    operations: Mapping[str, Operation]
    capabilities: frozenset[str]


class Plane(Struct, frozen=True, kw_only=True):
    """What an agent names: a data source and the operations behind each action."""

    id: str
    source: str
    owner: str | None
    connector: str
    actions: dict[str, tuple[str, ...]]


class ApiKey(Struct, frozen=True):
    """Whose key it is, the SHA-256 (hex) of the whole key, and when it ends (microseconds since the epoch)."""

    principal: Principal
    sha256: str
    expires: int | None = None


class Standing(Struct, frozen=True):
    """What an admin decided beside the configuration.

    ``inactive`` names planes, sources and connectors that are out of service, as (noun, id).
    """

    suspended: bool = False
    inactive: frozenset[tuple[str, str]] = frozenset()
    expires: Mapping[str, int] = {}  # of keys, by id


IN_FORCE: Final = Standing()


class Catalogue(Struct, frozen=True, kw_only=True):
    """Everything configured, by id."""

    tenant: str
    keys: Mapping[str, ApiKey]
    principals: Mapping[str, Principal]
    connectors: Mapping[str, Connector]
    planes: Mapping[str, Plane]
    grants: Mapping[tuple[str, int], Grant]
    limits: LimitsSection
    standing: Standing = IN_FORCE


def per_second(rate: Rate) -> float:
    """A configured rate in requests per second."""
    return rate.requests / _PER_SECONDS[rate.per]


def compile_catalogue(config: Config, standing: Standing = IN_FORCE) -> Catalogue:
    """Compile a checked configuration; ``config`` has passed every cross-check, so nothing here explains errors."""
    principals = _principals(config)
    bindings = {
        name: Binding(
            id=name,
            reference=references.parse(section.reference) if section.oauth is None else Reference("oauth", name),
            hosts=tuple("{}:{}".format(*host_port(text)) for text in section.hosts),
            connectors=section.connectors,
            positions=section.positions,
        )
        for name, section in config.credentials.items()
    }
    return Catalogue(
        tenant=config.tenant,
        keys={
            key.id: ApiKey(replace(principals[name], key=key.id), key.sha256, standing.expires.get(key.id))
            for name, section in config.principals.items()
            for key in section.keys
        },
        principals=principals,
        connectors={name: _connector(name, section, bindings) for name, section in config.connectors.items()},
        planes={
            name: Plane(
                id=name,
                source=plane.source,
                owner=plane.owner,
                connector=config.sources[plane.source].connector,
                actions=dict(plane.actions.items()),
            )
            for name, plane in config.planes.items()
        },
        grants=compile_grants(config.destinations),
        limits=config.limits,
        standing=standing,
    )


def _principals(config: Config) -> dict[str, Principal]:
    return {
        name: Principal(
            id=name,
            kind=section.kind,
            tenant=section.tenant or config.tenant,
            roles=section.roles,
            labels=section.labels,
        )
        for name, section in config.principals.items()
    }


def _connector(name: str, section: ConnectorSection, bindings: dict[str, Binding]) -> Connector:
    base = base_url(section.base_url)
    return Connector(
        id=name,
        kind=section.kind,
        scheme=base.scheme,
        host=base.host,
        port=base.port,
        facts=ConnectorFacts(id=name, kind=section.kind, labels=section.labels),
        auth=section.auth,
        binding=bindings[section.auth.credential] if section.auth else None,
        section=section,
        capabilities=capabilities(section.kind, section.capabilities),
        operations={
            key: _operation(key, operation, base.path_prefix) for key, operation in section.operations.items()
        },
    )


def _no_remote_schema(uri: str) -> Any:
    raise ValueError(f"a schema must not refer to another document ({uri})")


def _operation(name: str, section: OperationSection, prefix: str) -> Operation:
    schema = section.parameters if section.parameters is not None else _NO_PARAMETERS
    return Operation(
        id=name,
        method=section.method,
        effect=effect(section),
        idempotent=section.method in IDEMPOTENT if section.idempotent is None else section.idempotent,
        template=compile_template(section.method, prefix, section.path, section.query, section.headers, section.body),
        schema=schema,
        validator=jsonschema_rs.Draft202012Validator(
            schema, validate_formats=True, retriever=_no_remote_schema, mask=MASKED_VALUE
        ),
        facts=OperationFacts(id=name, labels=section.labels),
        policy_headers=frozenset(header.lower().encode("ascii") for header in section.policy_headers),
        idempotency_header=section.idempotency_header.lower().encode("ascii") if section.idempotency_header else None,
        max_bytes=section.answer.max_bytes,
        content_types=frozenset(kind.lower() for kind in section.answer.content_types),
        interpreter=section.interpreter,
        stream=section.stream,
    )
