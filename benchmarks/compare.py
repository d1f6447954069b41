"""The main scenario: the governed call, Envoy, aiohttp and a bare proxy over plain HTTP, in interleaved rounds.

The governed call is measured by two sidecars: one evaluates the policy on every call, the other keeps decisions as it
does by default.

Every ratio is measured twice, at 64 connections: each subject as fast as it can, and all at one pace. A proxy that
answers 30,000 requests a second pays half as much for each as at 5,000, because it is woken less often, so the first
compares unlike loads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import decision_server, evaluation, gate, peers
from benchmarks.disk import sync_p50_ms
from benchmarks.gate import Sent
from benchmarks.load import Load, drive
from benchmarks.peers import Peer
from benchmarks.rows import AIOHTTP, BARE, CACHED, ENVOY, EVEN, EVEN_RATE, GOVERNED, PLAIN, Figure, Row, find, medians
from benchmarks.stage import GOVERNED as SEGMENT
from benchmarks.stage import Governed, Upstream

CONNECTIONS: Final = (1, 16, 64)
ALONE: Final = "policy-alone"
DECISION, OPA_SERVER = "decision", "opa-server"  # one decision at a time: embedded, or asked on a Unix socket
REPEATED: Final = "repeated-input"
_WARM_CONNECTIONS: Final = 16
_SYNCS: Final = 150
# What the figures ask for.
_TIMES_ENVOY: Final = 5.0  # an evaluation and two durable records included
_TIMES_AIOHTTP: Final = 0.7  # without the evaluation
_CACHED_TIMES_ENVOY: Final = 1.5
_CACHED_TIMES_AIOHTTP: Final = 0.6
_TIMES_SERVER: Final = 0.5
_OVER_DISK_MS: Final = 0.9


class Effort(NamedTuple):
    """How much is measured: seconds of each load, rounds of all of them, evaluations of the policy."""

    seconds: int
    rounds: int
    evaluations: int


class Measured(NamedTuple):
    """Rows, figures, and everything that makes them worth nothing."""

    rows: list[Row]
    figures: list[Figure]
    problems: list[str]


def run(folder: Path, effort: Effort, tell: Callable[[str], None]) -> Measured:
    """Measure them all. Raises ``RuntimeError`` where something does not start."""
    folder.mkdir()
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream(folder / "upstream"))
        sidecars = {
            GOVERNED: Governed(folder / "sidecar", upstream.port),
            CACHED: Governed(folder / "cached", upstream.port, segment="cached", cached=True),
        }
        subjects: dict[str, Peer] = {}
        for name, sidecar in sidecars.items():
            subjects[name] = Peer(sidecar.start(), sidecar.port)
            stack.enter_context(subjects[name].process)
        for name, start in ((ENVOY, peers.start_envoy), (AIOHTTP, peers.start_aiohttp), (BARE, peers.start_bare)):
            subjects[name] = start(folder, upstream.port)
            stack.enter_context(subjects[name].process)
        rounds = _Rounds(sidecars, subjects, tell)
        rounds.warm()
        for number in range(effort.rounds):
            rounds.measure(number, effort)
        for name in sidecars:
            if not subjects[name].process.stop():
                rounds.problems.append(f"the sidecar {name} did not drain")
        counted = {GOVERNED: upstream.count(SEGMENT), CACHED: upstream.count("cached")}
    tell("verifying the evidence")
    for name, sidecar in sidecars.items():
        rounds.problems += gate.agree(gate.audit(sidecar.evidence), counted[name], rounds.sent[name])
    rows = medians(rounds.rows)
    return Measured(rows, _figures(rows, median(rounds.syncs)), rounds.problems)


class _Rounds:
    """All subjects under the same loads, one after the other, round after round."""

    def __init__(self, sidecars: dict[str, Governed], subjects: dict[str, Peer], tell: Callable[[str], None]) -> None:
        self._sidecars = sidecars
        self._subjects = subjects
        self._tell = tell
        self.rows: list[Row] = []
        self.sent: dict[str, list[Sent]] = {name: [] for name in sidecars}
        self.syncs: list[float] = []
        self.problems: list[str] = []

    def warm(self) -> None:
        """One second for each, not measured."""
        for name in self._subjects:
            self._tell(f"warming up {name}")
            self._drive(name, "warm", _WARM_CONNECTIONS, 1)

    def measure(self, number: int, effort: Effort) -> None:
        """One round."""
        sidecar = self._sidecars[GOVERNED]
        for connections in CONNECTIONS:
            self.syncs.append(sync_p50_ms(sidecar.evidence.parent, _SYNCS))
            for name in self._subjects:
                self._tell(f"round {number + 1}: {name} at {connections} connections")
                self._measure(PLAIN, name, f"r{number}c{connections}", connections, effort.seconds)
        most = CONNECTIONS[-1]
        self._tell(f"round {number + 1}: repeated input at {most} connections")
        self._measure(REPEATED, CACHED, "again", most, effort.seconds, repeated=True)
        for name in self._subjects:
            self._tell(f"round {number + 1}: {name} at {EVEN_RATE} requests a second")
            repeated = name == CACHED
            self._measure(EVEN, name, f"r{number}even", most, effort.seconds, repeated=repeated, rate=EVEN_RATE)
        self._tell(f"round {number + 1}: the policy alone")
        alone = evaluation.measure(sidecar.config, sidecar.key, effort.evaluations)
        self.rows.append(Row(scenario=ALONE, subject=GOVERNED, connections=0, cpu_us_per_call=alone))
        self._tell(f"round {number + 1}: the policy in an OPA server")
        both = decision_server.measure(sidecar.config, sidecar.key, effort.evaluations // 10)
        for subject, taken in zip((GOVERNED, OPA_SERVER), both, strict=True):
            self.rows.append(Row(scenario=DECISION, subject=subject, connections=1, p50_ms=taken / 1e3))

    def _measure(
        self, scenario: str, name: str, label: str, connections: int, seconds: int, *, repeated: bool = False,
        rate: int = 0,
    ) -> None:  # fmt: skip
        process = self._subjects[name].process
        before = process.cpu_seconds()
        load = self._drive(name, label, connections, seconds, repeated=repeated, rate=rate)
        used = process.cpu_seconds() - before
        self.rows.append(row(scenario, name, connections, load, used, process.rss_mb()))

    def _drive(
        self, name: str, label: str, connections: int, seconds: int, *, repeated: bool = False, rate: int = 0
    ) -> Load:
        caller = self._sidecars.get(name, self._sidecars[GOVERNED])  # the peers get the first sidecar's calls
        stream = caller.stream(label, repeated=repeated)
        load = drive(self._subjects[name].port, stream, connections, seconds, rate=rate)
        self.problems += faults(name, connections, load)
        if name in self.sent:
            self.sent[name].append(Sent(load.requests, connections))
        return load


def row(scenario: str, subject: str, connections: int, load: Load, cpu_seconds: float, rss_mb: float) -> Row:
    """One load as a row."""
    return Row(
        scenario=scenario,
        subject=subject,
        connections=connections,
        rps=load.per_second,
        p50_ms=load.p50 / 1e3,
        p99_ms=load.p99 / 1e3,
        cpu_us_per_call=cpu_seconds / max(load.requests, 1) * 1e6,
        rss_mb=rss_mb,
    )


def faults(subject: str, connections: int, load: Load) -> list[str]:
    """What makes a load's numbers worth nothing."""
    where = f"{subject} at {connections} connections"
    found = [f"{where}: {load.refused} answers were not 2xx"] if load.refused else []
    found += [f"{where}: {load.broken} exchanges broke or took too long"] if load.broken else []
    found += [] if load.requests else [f"{where}: no call was answered"]
    return found


def _figures(rows: list[Row], sync_ms: float) -> list[Figure]:
    embedded, server = (_row(rows, DECISION, name, 1).p50_ms or 0.0 for name in (GOVERNED, OPA_SERVER))
    return [
        *_ratios(rows, PLAIN, REPEATED, "each as fast as it can"),
        *_ratios(rows, EVEN, EVEN, f"{EVEN_RATE:,} a second each"),
        Figure(
            "p50 of a governed call, 1 connection",
            2 * sync_ms + _OVER_DISK_MS,
            _row(rows, PLAIN, GOVERNED, 1).p50_ms,
            "ms",
            f"fdatasync p50 {sync_ms:.3f} ms",
        ),
        Figure(
            "p50 of an embedded evaluation",
            _TIMES_SERVER,
            embedded / server,
            "x an OPA server's on a Unix socket",
            f"{embedded * 1e3:.0f} us, server {server * 1e3:.0f} us",
        ),
    ]


def _ratios(rows: list[Row], scenario: str, repeated: str, pace: str) -> list[Figure]:
    """CPU of a governed call beside its peers' at ``scenario``; with repeated input that of the row ``repeated``."""
    most = CONNECTIONS[-1]
    governed, envoy, aiohttp = (_cpu(rows, scenario, name, most) for name in (GOVERNED, ENVOY, AIOHTTP))
    cached, alone = _cpu(rows, repeated, CACHED, most), _cpu(rows, ALONE, GOVERNED, 0)
    beside_envoy, beside_aiohttp = f"Envoy {envoy:.0f} us", f"aiohttp {aiohttp:.0f} us"
    found = [
        ("CPU of a governed call", _TIMES_ENVOY, governed / envoy, "Envoy", f"{governed:.0f} us, {beside_envoy}"),
        (
            "the same without its evaluation",
            _TIMES_AIOHTTP,
            (governed - alone) / aiohttp,
            "aiohttp",
            f"evaluation {alone:.0f} us, {beside_aiohttp}",
        ),
        (
            "CPU of a governed call, repeated input",
            _CACHED_TIMES_ENVOY,
            cached / envoy,
            "Envoy",
            f"{cached:.0f} us, {beside_envoy}",
        ),
        ("the same", _CACHED_TIMES_AIOHTTP, cached / aiohttp, "aiohttp", beside_aiohttp),
    ]
    return [
        Figure(f"{name}, {pace}", bound, measured, f"x {peer}", note) for name, bound, measured, peer, note in found
    ]


def _row(rows: list[Row], scenario: str, subject: str, connections: int) -> Row:
    found = find(rows, scenario, subject, connections)
    assert found is not None
    return found


def _cpu(rows: list[Row], scenario: str, subject: str, connections: int) -> float:
    used = _row(rows, scenario, subject, connections).cpu_us_per_call
    assert used is not None
    return used
