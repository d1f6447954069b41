"""Chooses and builds the parts: the one room that knows adapters by name. Tables, not conditions.

A name that stands twice in a table would be a silent choice, so it refuses to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from sidecar import __version__
from sidecar.adapters.callers.http import HttpCaller, HttpSettings
from sidecar.adapters.callers.oauth import SCHEME as OAUTH
from sidecar.adapters.callers.oauth import OAuthSource
from sidecar.adapters.clock import SystemClock
from sidecar.adapters.counting import LocalCounter
from sidecar.adapters.credentials.environment import EnvironmentSource, EnvironmentStore
from sidecar.adapters.credentials.remotes import RemoteSources
from sidecar.adapters.credentials.sealed.administration import SealedCredentials
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.adapters.evidence.log import SegmentLog
from sidecar.adapters.observation.fanout import Observers
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import JsonLogObserver
from sidecar.adapters.observation.metrics import MetricsObserver
from sidecar.adapters.policy.activation import Activations
from sidecar.adapters.policy.directory import WatchedDirectory
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.history import History
from sidecar.adapters.policy.records import Records
from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.policy.server_connection import ServerConnection, ServerSettings, Token
from sidecar.adapters.registry.sqlite import SqliteStore
from sidecar.adapters.resolution import SystemResolver
from sidecar.config.load import Loaded
from sidecar.config.sections import Config
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.hosts import is_ip_literal, parse_base_url
from sidecar.model.secret import Secret
from sidecar.pipeline.decisions import DecisionCache
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.switches import Switches
from sidecar.ports import (
    Analysed,
    Clock,
    CredentialSource,
    CredentialStore,
    EvidenceLog,
    Observer,
    PolicyEngine,
    RegistryStore,
)
from sidecar.rules.addresses import check_addresses, own_addresses, static_addresses
from sidecar.rules.catalogue import IN_FORCE, Catalogue, Standing, compile_catalogue
from sidecar.rules.oauth import ClientGrant
from sidecar.rules.references import parse
from sidecar.wire.client import Timeouts

Part = TypeVar("Part")


def table(rows: Iterable[tuple[str, Part]]) -> dict[str, Part]:
    """Name to part. Raises ``Misconfigured`` where a name stands twice."""
    made: dict[str, Part] = {}
    for name, part in rows:
        if name in made:
            raise Misconfigured(f"two parts are called {name!r}")
        made[name] = part
    return made


# How each scheme of a credential's reference is resolved: from the configuration, its folder and the remote stores.
SOURCES: Mapping[str, Callable[[Config, Path, RemoteSources], CredentialSource]] = table(
    [
        ("encrypted", lambda config, at, _: SealedStore(at / config.store.directory, at / config.store.key_file)),
        ("env", lambda config, _, __: EnvironmentSource(os.environ, allowed=config.store.allow_environment)),
        ("vault", lambda config, home, remote: remote.vault(config.vault, config.tenant, home)),
        ("aws", lambda config, home, remote: remote.aws(config.aws, config.tenant, home)),
    ]
)

# What administrators may do to the credentials of each scheme, likewise.
STORES: Mapping[str, Callable[[Config, Path, RemoteSources], CredentialStore]] = table(
    [
        (
            "encrypted",
            lambda config, at, _: SealedCredentials(at / config.store.directory, at / config.store.key_file),
        ),
        ("env", lambda config, _, __: EnvironmentStore(os.environ, _variables(config))),
        ("vault", lambda config, home, remote: remote.vault(config.vault, config.tenant, home)),
        ("aws", lambda config, home, remote: remote.aws(config.aws, config.tenant, home)),
    ]
)


class Engine(PolicyEngine, Analysed, Protocol):
    """What decides, and says what its decisions depend on."""


class PolicySource(Protocol):
    """Where the engine's policy comes from. None of these raises: what is wrong is told, and is ``problem``."""

    @property
    def problem(self) -> str | None:
        """What keeps the source's policy from deciding now; the last good one may go on. None where it decides."""

    def configure(self, loaded: Loaded) -> None:
        """Take another configuration; it holds from the next ``load`` on."""

    async def load(self) -> None:
        """Take what is there now."""

    async def look(self) -> None:
        """Take what is there if it changed; called twice a second."""

    async def close(self) -> None:
        """End, and end the engine."""


class Around(NamedTuple):
    """What who decides may need of the other parts."""

    sources: Mapping[str, CredentialSource]
    evidence: EvidenceLog
    clock: Clock
    observer: Observer


class Deciding(NamedTuple):
    """An engine and its source."""

    engine: Engine
    source: PolicySource


def _from_directory(loaded: Loaded, around: Around) -> Deciding:
    engine = _embedded(loaded, around.observer)
    return Deciding(engine, WatchedDirectory(engine, around.observer, loaded))


def _from_bundle(loaded: Loaded, around: Around) -> Deciding:
    engine = _embedded(loaded, around.observer)
    history = History.open(policy_state(loaded))
    records = Records(history, around.evidence, around.clock, around.observer, loaded.config.tenant)
    token_of = partial(_token, sources=around.sources)
    return Deciding(engine, Activations(engine, records, loaded, around.clock, around.observer, token_of))


def _embedded(loaded: Loaded, observer: Observer) -> EmbeddedEngine:
    policy = loaded.config.policy
    return EmbeddedEngine(policy.quick_ms / 1000, policy.budget_ms / 1000, observer)


def _from_server(loaded: Loaded, around: Around) -> Deciding:
    policy = loaded.config.policy
    server = policy.server
    assert server is not None
    settings = ServerSettings(
        url=server.url,
        ca_file=loaded.resolve(server.ca_file) if server.ca_file else None,
        client_cert=loaded.resolve(server.client_cert) if server.client_cert else None,
        client_key=loaded.resolve(server.client_key) if server.client_key else None,
        connections=server.connections,
    )
    token = _token(server.token, around.sources) if server.token else None
    connection = ServerConnection(settings, token)
    budget, age = policy.budget_ms / 1000, server.maximum_age_seconds
    engine = ServerEngine(connection, budget, age, around.observer, cached=server.cache)
    return Deciding(engine, engine)


def _token(text: str, sources: Mapping[str, CredentialSource]) -> Token:
    reference = parse(text)

    async def token() -> Secret:
        if reference.scheme not in sources:
            raise Unavailable(
                "credential_unavailable", f"No store of {reference.scheme}:// credentials is configured."
            )
        return (await sources[reference.scheme].resolve(reference)).secret

    return token


# Who decides, by the key of the policy section that says so.
POLICIES: Mapping[str, Callable[[Loaded, Around], Deciding]] = table(
    [("server", _from_server), ("bundle", _from_bundle), ("directory", _from_directory)]
)


def policy_kind(config: Config) -> str:
    """The key of ``POLICIES`` that a configuration asks for."""
    if config.policy.server is not None:
        return "server"
    return "bundle" if config.policy.bundle is not None else "directory"


def policy_state(loaded: Loaded) -> Path:
    """The folder of the history of bundles."""
    config = loaded.config
    return loaded.resolve(config.policy.state or str(Path(config.evidence.directory, "policy")))


class Registry(RegistryStore, Protocol):
    """What changes at run time; the process closes it."""

    async def close(self) -> None:
        """Finish what is under way and let go."""


def _in_file(loaded: Loaded, _: Mapping[str, CredentialSource], clock: Clock) -> Registry:
    config = loaded.config
    return SqliteStore(loaded.resolve(config.registry.sqlite), config.tenant, clock)


def _shared(loaded: Loaded, sources: Mapping[str, CredentialSource], clock: Clock) -> Registry:
    # Its driver costs 60 ms and 6 MB that a sidecar without a shared registry need not pay.
    from sidecar.adapters.registry.postgres import PostgresStore  # noqa: PLC0415  # the reason above

    config = loaded.config
    assert config.registry.postgres is not None
    return PostgresStore(_token(config.registry.postgres, sources), config.tenant, clock)


# Where the registry is, by the key of its section that says so.
REGISTRIES: Mapping[str, Callable[[Loaded, Mapping[str, CredentialSource], Clock], Registry]] = table(
    [("sqlite", _in_file), ("postgres", _shared)]
)


class Built(NamedTuple):
    """The parts of the path, and those of them that the process starts, reloads and ends."""

    parts: Parts
    engine: Engine
    policy: PolicySource
    evidence: SegmentLog
    caller: HttpCaller
    resolver: SystemResolver
    metrics: MetricsObserver
    registry: Registry
    remote: RemoteSources
    oauth: OAuthSource
    lasting: Mapping[str, CredentialSource]  # what policy and registry ask, to the end
    stores: dict[str, CredentialStore]  # by scheme, of the configuration that is served


def build(loaded: Loaded, lines: LineWriter) -> Built:
    """Every part of the path. Opens the evidence log: raises ``Misconfigured`` and ``Unavailable``."""
    config, clock = loaded.config, SystemClock()
    metrics = MetricsObserver(clock, __version__, lambda: lines.dropped)
    observer = Observers(metrics, JsonLogObserver(lines))
    caller = HttpCaller(http_settings(loaded))
    resolver = SystemResolver(clock, static_addresses(config.destinations))
    catalogue = compile_catalogue(config)
    remote = RemoteSources(clock, observer)
    held: list[Parts] = []

    async def locate(host: str, port: int) -> tuple[str, ...]:
        """A token endpoint's addresses, checked as step 6 of the path checks a connector's."""
        [now] = held
        return check_addresses(host, port, await resolver.resolve(host), now.catalogue.grants, now.own_ports)

    oauth = OAuthSource(locate, clock, observer)
    sources = credential_sources(loaded, remote)
    evidence = SegmentLog.open(
        loaded.resolve(config.evidence.directory),
        config.tenant,
        segment_bytes=config.evidence.segment_bytes,
        reserve_bytes=config.evidence.reserve_bytes,
        clock=clock,
        observer=observer,
    )
    engine, policy = POLICIES[policy_kind(config)](loaded, Around(sources, evidence, clock, observer))
    parts = Parts(
        catalogue=catalogue,
        engine=engine,
        decisions=DecisionCache(engine, config.policy.cache_entries),
        credentials=with_tokens(oauth, loaded, sources),
        caller=caller,
        resolver=resolver,
        evidence=evidence,
        reader=evidence,
        counter=LocalCounter(clock),
        switches=Switches(config.registry.maximum_age_seconds),
        observer=observer,
        clock=clock,
        own_ports=own_addresses([split(config.doors.access), split(config.doors.metrics), *server_addresses(config)]),
    )
    held.append(parts)
    registry = REGISTRIES["sqlite" if config.registry.postgres is None else "postgres"](loaded, sources, clock)
    lasting = {scheme: sources[scheme] for scheme in _fixed_schemes(config) & sources.keys()}
    stores = credential_stores(loaded, remote)
    return Built(parts, engine, policy, evidence, caller, resolver, metrics, registry, remote, oauth, lasting, stores)


def swap(built: Built, loaded: Loaded, catalogue: Catalogue) -> None:
    """Serve another configuration, compiled to ``catalogue``, from the next call on. Everything that can fail comes
    before the first change."""
    addresses = static_addresses(loaded.config.destinations)
    sources, stores = credential_sources(loaded, built.remote), credential_stores(loaded, built.remote)
    built.caller.swap(http_settings(loaded, catalogue.standing))
    built.resolver.fix(addresses)
    built.parts.credentials = with_tokens(built.oauth, loaded, sources)
    built.parts.catalogue = catalogue
    built.parts.switches.serve(catalogue)
    built.parts.decisions.resize(loaded.config.policy.cache_entries)
    built.policy.configure(loaded)
    built.stores.clear()
    built.stores.update(stores)
    built.remote.settle([*sources.values(), *built.lasting.values(), *stores.values()])


def server_addresses(config: Config) -> list[tuple[str, int]]:
    """Where the OPA server and the vault listen, if it is an address: never a destination, like our doors (A24)."""
    server = config.policy.server
    urls = [] if server is None or server.url.startswith("unix:") else [server.url]
    urls += [config.vault.address] if config.vault else []
    urls += [config.aws.endpoint] if config.aws and config.aws.endpoint else []
    bases = [parse_base_url(url) for url in urls]
    return [(base.host, base.port) for base in bases if is_ip_literal(base.host)]


def credential_sources(loaded: Loaded, remote: RemoteSources) -> dict[str, CredentialSource]:
    """One source for each scheme that is referred to. A scheme without one fails its calls, as ``check`` warned."""
    config = loaded.config
    schemes = {section.reference.partition("://")[0] for section in config.credentials.values()}
    absent = {name for name, section in (("vault", config.vault), ("aws", config.aws)) if section is None}
    there = (schemes | _fixed_schemes(config)) & SOURCES.keys() - absent
    return {scheme: SOURCES[scheme](config, loaded.directory, remote) for scheme in there}


def credential_stores(loaded: Loaded, remote: RemoteSources) -> dict[str, CredentialStore]:
    """The stores that are configured, by scheme; what they keep may be referred to or not."""
    config = loaded.config
    there = {"vault": config.vault, "aws": config.aws, "env": config.store.allow_environment or None}
    absent = {name for name, section in there.items() if section is None}
    return {scheme: STORES[scheme](config, loaded.directory, remote) for scheme in STORES.keys() - absent}


def _variables(config: Config) -> list[str]:
    references = [section.reference.partition("://") for section in config.credentials.values()]
    return [name for scheme, _, name in references if scheme == "env"]


def with_tokens(
    oauth: OAuthSource, loaded: Loaded, sources: dict[str, CredentialSource]
) -> dict[str, CredentialSource]:
    """The sources, and the one of access tokens where a credential is an OAuth client's."""
    grants = oauth_grants(loaded)
    oauth.configure(grants, sources)
    return {**sources, OAUTH: oauth} if grants else sources


def oauth_grants(loaded: Loaded) -> dict[str, ClientGrant]:
    """How each credential that is an OAuth client's gets its tokens."""
    grants = {}
    for name, section in loaded.config.credentials.items():
        if section.oauth is not None:
            base = parse_base_url(section.oauth.token_url)
            grants[name] = ClientGrant(
                reference=parse(section.reference),
                host=base.host,
                port=base.port,
                path=base.path_prefix or "/",
                ca_file=str(loaded.resolve(section.oauth.ca_file)) if section.oauth.ca_file else None,
                client_id=section.oauth.client_id,
                scopes=section.oauth.scopes,
                audience=section.oauth.audience,
                in_body=section.oauth.authentication == "body",
            )
    return grants


def _fixed_schemes(config: Config) -> set[str]:
    """Of the references that are resolved for the policy and the registry, which stay until the process ends."""
    server, bundle = config.policy.server, config.policy.bundle
    references = [server.token if server else None, bundle.token if bundle else None, config.registry.postgres]
    return {reference.partition("://")[0] for reference in references if reference is not None}


def http_settings(loaded: Loaded, standing: Standing = IN_FORCE) -> dict[str, HttpSettings]:
    """What the HTTP caller must know of each connector that is in service; connections of others end."""
    return {
        name: HttpSettings(
            secure=section.base_url.startswith("https:"),
            ca_file=loaded.resolve(section.ca_file) if section.ca_file else None,
            connections=section.connections,
            timeouts=Timeouts(
                connect=section.timeouts.connect_seconds,
                head=section.timeouts.head_seconds,
                idle=section.timeouts.idle_seconds,
                total=section.timeouts.total_seconds,
            ),
        )
        for name, section in loaded.config.connectors.items()
        if ("connector", name) not in standing.inactive
    }


def split(address: str) -> tuple[str, int]:
    """``host:port`` of a checked configuration in two."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
