"""The main scenario: the governed call, Envoy and aiohttp side by side, over plain HTTP, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import evaluation, gate, peers
from benchmarks.disk import sync_p50_ms
from benchmarks.gate import Sent
from benchmarks.load import Load, drive
from benchmarks.peers import Peer
from benchmarks.rows import AIOHTTP, ENVOY, GOVERNED, PLAIN, Figure, Row, find, medians
from benchmarks.stage import GOVERNED as SEGMENT
from benchmarks.stage import Governed, Upstream

CONNECTIONS: Final = (1, 16, 64)
ALONE: Final = "policy-alone"
REPEATED: Final = "repeated-input"
_WARM_CONNECTIONS: Final = 16
_SYNCS: Final = 150
# What the figures ask for.
_TIMES_ENVOY: Final = 1.5
_TIMES_AIOHTTP: Final = 0.6
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
    """Measure all three. Raises ``RuntimeError`` where something does not start."""
    folder.mkdir()
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream(folder / "upstream"))
        sidecar = Governed(folder / "sidecar", upstream.port)
        subjects = {GOVERNED: Peer(sidecar.start(), sidecar.port)}
        stack.enter_context(subjects[GOVERNED].process)
        for name, start in ((ENVOY, peers.start_envoy), (AIOHTTP, peers.start_aiohttp)):
            subjects[name] = start(folder, upstream.port)
            stack.enter_context(subjects[name].process)
        rounds = _Rounds(sidecar, subjects, tell)
        rounds.warm()
        for number in range(effort.rounds):
            rounds.measure(number, effort)
        if not subjects[GOVERNED].process.stop():
            rounds.problems.append("the sidecar did not drain")
        counted = upstream.count(SEGMENT)
    tell("verifying the evidence")
    rounds.problems += gate.agree(gate.audit(sidecar.evidence), counted, rounds.sent)
    rows = medians(rounds.rows)
    return Measured(rows, _figures(rows, median(rounds.syncs)), rounds.problems)


class _Rounds:
    """All subjects under the same loads, one after the other, round after round."""

    def __init__(self, sidecar: Governed, subjects: dict[str, Peer], tell: Callable[[str], None]) -> None:
        self._sidecar = sidecar
        self._subjects = subjects
        self._tell = tell
        self.rows: list[Row] = []
        self.sent: list[Sent] = []
        self.syncs: list[float] = []
        self.problems: list[str] = []

    def warm(self) -> None:
        """One second for each, not measured."""
        for name in self._subjects:
            self._tell(f"warming up {name}")
            self._drive(name, "warm", _WARM_CONNECTIONS, 1)

    def measure(self, number: int, effort: Effort) -> None:
        """One round."""
        for connections in CONNECTIONS:
            self.syncs.append(sync_p50_ms(self._sidecar.evidence.parent, _SYNCS))
            for name, subject in self._subjects.items():
                self._tell(f"round {number + 1}: {name} at {connections} connections")
                before = subject.process.cpu_seconds()
                load = self._drive(name, f"r{number}c{connections}", connections, effort.seconds)
                used = subject.process.cpu_seconds() - before
                rss = subject.process.rss_mb()
                self.rows.append(row(PLAIN, name, connections, load, used, rss))
        self._repeat(number, effort.seconds)
        self._tell(f"round {number + 1}: the policy alone")
        alone = evaluation.measure(self._sidecar.config, self._sidecar.key, effort.evaluations)
        self.rows.append(Row(scenario=ALONE, subject=GOVERNED, connections=0, cpu_us_per_call=alone))

    def _repeat(self, number: int, seconds: int) -> None:
        """The governed call with one input again and again, as the peers got theirs a moment ago."""
        connections, process = CONNECTIONS[-1], self._subjects[GOVERNED].process
        self._tell(f"round {number + 1}: repeated input at {connections} connections")
        before = process.cpu_seconds()
        load = drive(self._sidecar.port, self._sidecar.stream("again", repeated=True), connections, seconds)
        used = process.cpu_seconds() - before
        self.problems += faults(GOVERNED, connections, load)
        self.sent.append(Sent(load.requests, connections))
        self.rows.append(row(REPEATED, GOVERNED, connections, load, used, process.rss_mb()))

    def _drive(self, name: str, label: str, connections: int, seconds: int) -> Load:
        load = drive(self._subjects[name].port, self._sidecar.stream(label), connections, seconds)
        self.problems += faults(name, connections, load)
        if name == GOVERNED:
            self.sent.append(Sent(load.requests, connections))
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
    def measured(scenario: str, subject: str, connections: int) -> Row:
        found = find(rows, scenario, subject, connections)
        assert found is not None
        return found

    def cpu(row: Row) -> float:
        assert row.cpu_us_per_call is not None
        return row.cpu_us_per_call

    most = CONNECTIONS[-1]
    envoy, aiohttp = (cpu(measured(PLAIN, name, most)) for name in (ENVOY, AIOHTTP))
    repeated, alone = cpu(measured(REPEATED, GOVERNED, most)), cpu(measured(ALONE, GOVERNED, 0))
    name = f"CPU of a governed call, repeated input, {most} connections"
    return [
        Figure(name, _TIMES_ENVOY, repeated / envoy, "x Envoy", f"{repeated:.0f} us, of Envoy {envoy:.0f} us"),
        Figure(
            "the same",
            _TIMES_AIOHTTP,
            repeated / aiohttp,
            "x aiohttp",
            f"of aiohttp {aiohttp:.0f} us; an evaluation, which it is spared, {alone:.0f} us",
        ),
        Figure(
            "p50 of a governed call, 1 connection",
            2 * sync_ms + _OVER_DISK_MS,
            measured(PLAIN, GOVERNED, 1).p50_ms,
            "ms",
            f"fdatasync p50 {sync_ms:.3f} ms",
        ),
    ]
