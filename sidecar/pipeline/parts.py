"""What the path works with: the ports, the catalogue of the moment and the live state of each connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.pipeline.decisions import DecisionCache
from sidecar.pipeline.flood import Flood
from sidecar.pipeline.switches import Switches
from sidecar.pipeline.traffic import Traffic
from sidecar.pipeline.uses import Uses
from sidecar.ports import (
    Caller,
    Clock,
    Counter,
    CredentialSource,
    EvidenceLog,
    EvidenceReader,
    Observer,
    PolicyEngine,
    Resolver,
)
from sidecar.rules.catalogue import Catalogue


@dataclass(slots=True)
class Parts:
    """Built once by ``wiring``. A reload replaces catalogue and credentials; a call reads the catalogue once."""

    catalogue: Catalogue
    engine: PolicyEngine
    credentials: Mapping[str, CredentialSource]  # by the scheme of a reference
    caller: Caller
    resolver: Resolver
    evidence: EvidenceLog
    reader: EvidenceReader
    counter: Counter
    observer: Observer
    clock: Clock
    own_ports: frozenset[tuple[str, int]]  # where we listen: never a destination (A24)
    switches: Switches
    decisions: DecisionCache = field(default_factory=DecisionCache)
    flood: Flood = field(default_factory=Flood)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    uses: Uses = field(default_factory=Uses)
    in_flight: int = 0
