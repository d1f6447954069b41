"""The other scenarios, each with a sidecar of its own: TLS and a credential, start-up, a slow disk, a long run."""

from __future__ import annotations

import re
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import gate
from benchmarks.compare import CONNECTIONS, Measured, faults, row
from benchmarks.gate import Sent
from benchmarks.lateness import Lateness
from benchmarks.load import drive
from benchmarks.rows import GOVERNED, Figure, Row
from benchmarks.stage import GOVERNED as SEGMENT
from benchmarks.stage import Governed, Upstream

Tell = Callable[[str], None]

OPERATIONS: Final = 1000
_READY_SECONDS: Final = 2.0
_READY_RSS_MB: Final = 150.0
_LAG_MS: Final = 50.0
_DELAY_MS: Final = 500
_GROWTH_PERCENT: Final = 5.0
_SOAK_EARLY: Final = 100_000
_SOAK_CALLS: Final = 1_000_000
_SOAK_SLICE_SECONDS: Final = 5
_LAG: Final = re.compile(r"^sidecar_loop_lag_seconds ([0-9.e+-]+)$", re.MULTILINE)


def over_tls(folder: Path, seconds: int, tell: Tell) -> Measured:
    """TLS to the upstream, an injected credential, and the upstream's list of calls joined with the evidence."""
    folder.mkdir()
    rows: list[Row] = []
    sent: list[Sent] = []
    problems: list[str] = []
    with Upstream(folder / "upstream", tls=True) as upstream:
        sidecar = Governed(folder / "sidecar", upstream.port, tls=True)
        shutil.copytree(folder / "upstream/tls", folder / "sidecar/tls")
        with sidecar.start() as process:
            for connections in CONNECTIONS:
                tell(f"TLS and a credential at {connections} connections")
                before = process.cpu_seconds()
                load = drive(sidecar.port, sidecar.stream(f"tls{connections}", keyed=True), connections, seconds)
                used = process.cpu_seconds() - before
                rows.append(row("tls-credential", GOVERNED, connections, load, used, process.rss_mb()))
                sent.append(Sent(load.requests, connections))
                problems += faults("governed over TLS", connections, load)
        counted, ids = upstream.count(SEGMENT), upstream.ids()
    found = gate.audit(sidecar.evidence)
    return Measured(rows, [], [*problems, *gate.agree(found, counted, sent), *gate.join(found, ids)])


def startup(folder: Path, starts: int, tell: Tell) -> Measured:
    """A start with a thousand operations: seconds until every door is open and /readyz says so, and memory then."""
    folder.mkdir()
    sidecar = Governed(folder / "sidecar", 9, operations=OPERATIONS - 1)  # nothing is called
    took, rss = [], []
    for number in range(starts):
        tell(f"start {number + 1} with {OPERATIONS} operations")
        began = time.monotonic()
        with sidecar.start() as process:
            ask(sidecar.metrics, "/readyz")
            took.append(time.monotonic() - began)
            rss.append(process.rss_mb())
    ready, resident = median(took), median(rss)
    figures = [
        Figure(f"ready with {OPERATIONS} operations", _READY_SECONDS, ready, "s"),
        Figure("RSS then", _READY_RSS_MB, resident, "MB"),
    ]
    rows = [
        Row(
            scenario="start-1000-operations",
            subject=GOVERNED,
            connections=0,
            p50_ms=ready * 1e3,
            p99_ms=max(took) * 1e3,
            rss_mb=resident,
        )
    ]
    return Measured(rows, figures, [])


def slow_disk(folder: Path, seconds: int, tell: Tell) -> Measured:
    """Every fdatasync takes half a second longer: calls wait for it, the event loop must not."""
    name = f"loop lag while fdatasync takes {_DELAY_MS} ms"
    if shutil.which("strace") is None:
        note = "strace is missing: apt-get install strace"
        return Measured([], [Figure(name, _LAG_MS, None, "ms", note)], [])
    folder.mkdir()
    # -D: the sidecar stays our child, and strace ends with it
    inject = ["strace", "-D", "-f", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=fdatasync"]
    inject += ["-e", f"inject=fdatasync:delay_enter={_DELAY_MS}ms"]
    connections = CONNECTIONS[1]
    with Upstream(folder / "upstream") as upstream:
        sidecar = Governed(folder / "sidecar", upstream.port)
        try:
            process = sidecar.start(*inject)
        except RuntimeError as error:
            return Measured([], [Figure(name, _LAG_MS, None, "ms", f"strace did not work: {error}")], [])
        with process:
            tell(f"a slow disk at {connections} connections")
            before, starting = process.cpu_seconds(), lag_ms(sidecar)
            with Lateness() as machine:
                load = drive(sidecar.port, sidecar.stream("slow"), connections, seconds, timeout=30)
            rows = [row("slow-disk", GOVERNED, connections, load, process.cpu_seconds() - before, process.rss_mb())]
            lag = lag_ms(sidecar)
        counted = upstream.count(SEGMENT)
    problems = [*faults("governed on a slow disk", connections, load)]
    problems += gate.agree(gate.audit(sidecar.evidence), counted, [Sent(load.requests, connections)])
    note = f"{starting:.0f} ms at the start; a bare timer beside it {machine.longest_ms:.0f} ms"
    seen = load.p50 >= _DELAY_MS * 1e3
    if not seen:
        note = "the delay did not reach the sidecar"
    return Measured(rows, [Figure(name, _LAG_MS, lag if seen else None, "ms", note)], problems)


def soak(folder: Path, tell: Tell, early: int = _SOAK_EARLY, calls: int = _SOAK_CALLS) -> Measured:
    """A million calls: memory after the first tenth, and at the end."""
    folder.mkdir()
    connections = CONNECTIONS[-1]
    sent: list[Sent] = []
    problems: list[str] = []
    marks: list[float] = []
    done = 0
    with Upstream(folder / "upstream") as upstream:
        sidecar = Governed(folder / "sidecar", upstream.port)
        with sidecar.start() as process:
            for goal in (early, calls):
                before, started, began = process.cpu_seconds(), done, time.monotonic()
                while done < goal:
                    tell(f"a long run: {done:,} of {calls:,} calls, {process.rss_mb():.1f} MB")
                    load = drive(sidecar.port, sidecar.stream(f"soak{done}"), connections, _SOAK_SLICE_SECONDS)
                    sent.append(Sent(load.requests, connections))
                    problems += faults("governed, a long run", connections, load)
                    if not load.requests:
                        raise RuntimeError("The sidecar stopped answering in the long run.")
                    done += load.requests
                marks.append(process.rss_mb())
            used, seconds = process.cpu_seconds() - before, time.monotonic() - began
        counted = upstream.count(SEGMENT)
    tell("verifying the evidence of the long run")
    problems += gate.agree(gate.audit(sidecar.evidence), counted, sent)
    growth = (marks[1] / marks[0] - 1) * 100
    rows = [
        Row(
            scenario=f"soak-{calls}",
            subject=GOVERNED,
            connections=connections,
            rps=(done - started) / seconds,
            cpu_us_per_call=used / (done - started) * 1e6,
            rss_mb=marks[1],
        )
    ]
    figure = Figure("RSS growth, 100,000 to 1,000,000 calls", _GROWTH_PERCENT, growth, "%", f"from {marks[0]:.1f} MB")
    return Measured(rows, [figure], problems)


def lag_ms(sidecar: Governed) -> float:
    """The longest delay of its event loop so far, as it says itself."""
    found = _LAG.search(ask(sidecar.metrics, "/metrics"))
    return float(found[1]) * 1e3 if found else 0.0


def ask(port: int, path: str) -> str:
    """One answer of the door of metrics and probes. Raises ``OSError`` unless it is a success."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()
