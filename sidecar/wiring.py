"""Chooses and builds the parts: the one room that knows adapters by name. Tables, not conditions.

A name that stands twice in a table would be a silent choice, so it refuses to start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from sidecar import __version__
from sidecar.adapters.callers.http import HttpCaller, HttpSettings
from sidecar.adapters.clock import SystemClock
from sidecar.adapters.counting import LocalCounter
from sidecar.adapters.credentials.environment import EnvironmentSource
from sidecar.adapters.credentials.sealed import SealedStore
from sidecar.adapters.evidence.log import SegmentLog
from sidecar.adapters.observation.fanout import Observers
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.observation.logs import JsonLogObserver
from sidecar.adapters.observation.metrics import MetricsObserver
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import fingerprint, read_policy
from sidecar.adapters.resolution import SystemResolver
from sidecar.config.load import Loaded
from sidecar.config.sections import Config
from sidecar.errors import Misconfigured
from sidecar.pipeline.decisions import DecisionCache
from sidecar.pipeline.parts import Parts
from sidecar.pipeline.switches import Switches
from sidecar.ports import CredentialSource
from sidecar.rules.addresses import own_addresses, static_addresses
from sidecar.rules.catalogue import compile_catalogue
from sidecar.wire.client import Timeouts

CACHED_DECISIONS: Final = 10_000
Part = TypeVar("Part")


def table(rows: Iterable[tuple[str, Part]]) -> dict[str, Part]:
    """Name to part. Raises ``Misconfigured`` where a name stands twice."""
    made: dict[str, Part] = {}
    for name, part in rows:
        if name in made:
            raise Misconfigured(f"two parts are called {name!r}")
        made[name] = part
    return made


# How each scheme of a credential's reference is resolved.
SOURCES: Mapping[str, Callable[[Config, Path], CredentialSource]] = table(
    [
        ("encrypted", lambda config, home: SealedStore(home / config.store.directory, home / config.store.key_file)),
        ("env", lambda config, _: EnvironmentSource(os.environ, allowed=config.store.allow_environment)),
    ]
)


class Built(NamedTuple):
    """The parts of the path, and those of them that the process starts, reloads and ends."""

    parts: Parts
    engine: EmbeddedEngine
    evidence: SegmentLog
    caller: HttpCaller
    resolver: SystemResolver
    metrics: MetricsObserver


def build(loaded: Loaded, lines: LineWriter) -> Built:
    """Every part of the path. Opens the evidence log: raises ``Misconfigured`` and ``Unavailable``."""
    config, clock = loaded.config, SystemClock()
    metrics = MetricsObserver(clock, __version__, lambda: lines.dropped)
    observer = Observers(metrics, JsonLogObserver(lines))
    engine = EmbeddedEngine(config.policy.quick_ms / 1000, config.policy.budget_ms / 1000, observer)
    caller = HttpCaller(http_settings(loaded))
    resolver = SystemResolver(clock, static_addresses(config.destinations))
    catalogue = compile_catalogue(config)
    sources = credential_sources(loaded)
    switches = Switches(inf)
    switches.known(clock.monotonic())
    evidence = SegmentLog.open(
        loaded.resolve(config.evidence.directory),
        config.tenant,
        segment_bytes=config.evidence.segment_bytes,
        reserve_bytes=config.evidence.reserve_bytes,
        clock=clock,
        observer=observer,
    )
    parts = Parts(
        catalogue=catalogue,
        engine=engine,
        decisions=DecisionCache(lambda: engine.reads, CACHED_DECISIONS),
        credentials=sources,
        caller=caller,
        resolver=resolver,
        evidence=evidence,
        reader=evidence,
        counter=LocalCounter(clock),
        switches=switches,
        observer=observer,
        clock=clock,
        own_ports=own_addresses([split(config.doors.access), split(config.doors.metrics)]),
    )
    return Built(parts, engine, evidence, caller, resolver, metrics)


def swap(built: Built, loaded: Loaded) -> None:
    """Serve another configuration from the next call on. Everything that can fail comes before the first change."""
    catalogue = compile_catalogue(loaded.config)
    addresses = static_addresses(loaded.config.destinations)
    sources = credential_sources(loaded)
    built.caller.swap(http_settings(loaded))
    built.resolver.fix(addresses)
    built.parts.credentials = sources
    built.parts.catalogue = catalogue


def load_policy(built: Built, loaded: Loaded) -> str:
    """Read and compile the policy directory; its revision. Blocks for tens of milliseconds: call it in a thread."""
    section = loaded.config.policy
    return built.engine.load(read_policy(loaded.resolve(section.directory), with_library=section.library))


def policy_print(loaded: Loaded) -> str:
    """Changes when a file of the policy directory does."""
    return fingerprint(loaded.resolve(loaded.config.policy.directory))


def credential_sources(loaded: Loaded) -> dict[str, CredentialSource]:
    """One source for each scheme that is referred to. A scheme without one fails its calls, as ``check`` warned."""
    schemes = {section.reference.partition("://")[0] for section in loaded.config.credentials.values()}
    return {scheme: SOURCES[scheme](loaded.config, loaded.directory) for scheme in schemes & SOURCES.keys()}


def http_settings(loaded: Loaded) -> dict[str, HttpSettings]:
    """What the HTTP caller must know of each connector."""
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
    }


def split(address: str) -> tuple[str, int]:
    """``host:port`` of a checked configuration in two."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
