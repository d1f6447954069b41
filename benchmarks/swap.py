"""Policies replaced under load: a rule and a hundred thousand entries of data must not stall the event loop."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import gate
from benchmarks.background import Background
from benchmarks.compare import CONNECTIONS, Measured, faults, row
from benchmarks.gate import Sent
from benchmarks.lateness import Lateness
from benchmarks.load import drive
from benchmarks.processes import Running
from benchmarks.rows import GOVERNED, Figure
from benchmarks.scenarios import ask, lag_ms
from benchmarks.stage import GOVERNED as SEGMENT
from benchmarks.stage import Governed, Upstream

ENTRIES: Final = 100_000
_LAG_MS: Final = 50.0
_SWAP_SECONDS: Final = 30  # for one, on a slow machine
_RULE: Final = """package sidecar.custom

deny contains {"code": "swapped", "message": "Policy %d of the run."} if input.parameters.item == "policy-%d"
"""


def run(folder: Path, seconds: int, tell: Callable[[str], None]) -> Measured:
    """Replace the policy again and again while calls are made. The loads' seconds bound the run."""
    folder.mkdir()
    connections = CONNECTIONS[1]
    with Upstream(folder / "upstream") as upstream:
        sidecar = Governed(folder / "sidecar", upstream.port)
        with sidecar.start() as process:
            swaps = _Swaps(sidecar, process)
            before, starting = process.cpu_seconds(), lag_ms(sidecar)
            tell(f"replacing the policy and {ENTRIES:,} entries under load")
            with Lateness() as machine, swaps:
                load = drive(sidecar.port, sidecar.stream("swap"), connections, seconds)
            rows = [
                row("policy-swaps", GOVERNED, connections, load, process.cpu_seconds() - before, process.rss_mb())
            ]
            lag = lag_ms(sidecar)
        counted = upstream.count(SEGMENT)
    problems = [*faults("governed while policies are replaced", connections, load)]
    problems += gate.agree(gate.audit(sidecar.evidence), counted, [Sent(load.requests, connections)])
    note = f"{swaps.done} swaps; {starting:.0f} ms at the start; a bare timer beside it {machine.longest_ms:.0f} ms"
    name = f"loop lag while a policy and {ENTRIES:,} entries are replaced"
    return Measured(rows, [Figure(name, _LAG_MS, lag if swaps.done else None, "ms", note)], problems)


class _Swaps(Background):
    """As a context: another policy as soon as the last one decides."""

    def __init__(self, sidecar: Governed, process: Running) -> None:
        super().__init__()
        self.done = 0
        self._sidecar = sidecar
        self._process = process
        self._folder = sidecar.config.parent / "policy"

    def run(self) -> None:
        """Replace it, again and again."""
        entries = json.loads((self._folder / "data.json").read_text())
        principals = entries["sidecar"]["grants"]["acme"]["principals"]
        principals |= {f"agent-{number:06d}": ["articles/lookup"] for number in range(ENTRIES)}
        self._write("data.json", json.dumps(entries))
        while not self.stop.is_set():
            before = self._revision()
            self._write("custom.rego", _RULE % (self.done, self.done))
            os.kill(self._process.pid, signal.SIGHUP)
            until = time.monotonic() + _SWAP_SECONDS
            while self._revision() == before and not self.stop.wait(0.05):
                if time.monotonic() > until:
                    return
            self.done += not self.stop.is_set()

    def _write(self, name: str, text: str) -> None:
        fresh = self._folder / f".{name}"
        fresh.write_text(text)
        fresh.replace(self._folder / name)

    def _revision(self) -> str:
        lines = ask(self._sidecar.metrics, "/metrics").splitlines()
        return next((line for line in lines if line.startswith("sidecar_policy_info{")), "")
