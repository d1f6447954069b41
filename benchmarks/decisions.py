"""One decision by the embedded engine, from the cache, and over a hundred thousand entries of data.

``python -m benchmarks.decisions CONFIG KEY COUNT`` prints the rows as JSON. The inputs are those of governed calls,
no two of which are the same; all three are asked the same ones in turns: a noisy machine is noisy for all.
"""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import msgspec
import uvloop

from benchmarks.compare import Measured
from benchmarks.evaluation import Silent, inputs
from benchmarks.load import Stream
from benchmarks.rows import Figure, Row
from benchmarks.stage import Governed
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles, read_policy
from sidecar.config.load import Loaded, read
from sidecar.pipeline.decisions import DecisionCache

SCENARIO: Final = "decision"
EMBEDDED, CACHED, FULL = "embedded", "cached", "embedded-100000-entries"
_ENTRIES: Final = 100_000
_TURNS: Final = 40
_LIMIT_SECONDS: Final = 120
_TIMES_EVALUATION: Final = 1 / 20
_DATA_PERCENT: Final = 10.0


def run(folder: Path, count: int, tell: Callable[[str], None]) -> Measured:
    """Measure in a process of its own. Raises ``RuntimeError`` where it fails."""
    tell("one decision: embedded, cached, and over 100,000 entries")
    folder.mkdir()
    sidecar = Governed(folder / "sidecar", 9)  # nothing is called
    command = [sys.executable, "-m", "benchmarks.decisions", str(sidecar.config), sidecar.key, str(count)]
    root = Path(__file__).parents[1]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS)
    if ran.returncode != 0:
        raise RuntimeError(f"The decisions could not be measured:\n{ran.stderr}")
    rows = msgspec.json.decode(ran.stdout, type=list[Row])
    cpu = {row.subject: row.cpu_us_per_call or 0.0 for row in rows}
    p50 = {row.subject: row.p50_ms or 0.0 for row in rows}
    spent = f"{cpu[CACHED]:.2f} us CPU, of {cpu[EMBEDDED]:.1f} us"
    change = abs(p50[FULL] / p50[EMBEDDED] - 1) * 100
    figures = [
        Figure("a decision from the cache", _TIMES_EVALUATION, cpu[CACHED] / cpu[EMBEDDED], "x evaluation", spent),
        Figure(f"change of an evaluation's p50 by {_ENTRIES:,} entries", _DATA_PERCENT, change, "%"),
    ]
    return Measured(rows, figures, [])


async def measure(loaded: Loaded, key: str, count: int) -> list[Row]:
    """The rows. Raises ``RuntimeError`` when the cache does not answer."""
    policy = loaded.config.policy
    files = read_policy(loaded.resolve(policy.directory), with_library=policy.library)
    engine, full = (EmbeddedEngine(policy.quick_ms / 1000, policy.budget_ms / 1000, Silent()) for _ in range(2))
    engine.load(files)
    full.load(_filled(files))
    cache = DecisionCache(engine, 1000)
    documents = inputs(loaded, Stream("decision", key), count)
    cache.keep(documents[0], await engine.evaluate(documents[0]))
    taken = {EMBEDDED: _Taken(), CACHED: _Taken(), FULL: _Taken()}
    for turn in range(_TURNS):
        some = documents[turn * count // _TURNS : (turn + 1) * count // _TURNS]
        await taken[EMBEDDED].evaluate(engine, some)
        await taken[FULL].evaluate(full, some)
        taken[CACHED].find(cache, some)
    engine.close()
    full.close()
    return [one.row(subject) for subject, one in taken.items()]


class _Taken:
    """Nanoseconds of each of one half of the decisions; of the other half, turn by turn, the CPU time of all threads.

    The median of the turns counts, because Go's collector may still be at work for somebody else's.
    """

    def __init__(self) -> None:
        self._took: list[int] = []
        self._used: list[float] = []

    async def evaluate(self, engine: EmbeddedEngine, documents: list[bytes]) -> None:
        """Ask the engine about each."""
        for document in documents[::2]:
            began = time.perf_counter_ns()
            await engine.evaluate(document)
            self._took.append(time.perf_counter_ns() - began)
        before = time.process_time_ns()
        for document in documents[1::2]:
            await engine.evaluate(document)
        self._used.append((time.process_time_ns() - before) / len(documents[1::2]))

    def find(self, cache: DecisionCache, documents: list[bytes]) -> None:
        """Ask the cache about each."""
        found = True
        for document in documents[::2]:
            began = time.perf_counter_ns()
            found = cache.find(document) is not None and found
            self._took.append(time.perf_counter_ns() - began)
        before = time.process_time_ns()
        for document in documents[1::2]:
            found = cache.find(document) is not None and found
        self._used.append((time.process_time_ns() - before) / len(documents[1::2]))
        if not found:
            raise RuntimeError("The cache does not know what it was told.")

    def row(self, subject: str) -> Row:
        """All of them as a row."""
        return Row(
            scenario=SCENARIO,
            subject=subject,
            connections=0,
            p50_ms=median(self._took) / 1e6,
            p99_ms=quantiles(self._took, n=100)[98] / 1e6,
            cpu_us_per_call=median(self._used) / 1e3,
        )


def _filled(files: PolicyFiles) -> PolicyFiles:
    data: dict[str, Any] = copy.deepcopy(files.data)
    principals = data["sidecar"]["grants"]["acme"]["principals"]
    principals |= {f"agent-{number:06d}": ["articles/lookup"] for number in range(_ENTRIES)}
    return PolicyFiles(files.modules, data)


def main() -> None:
    """Run as a program."""
    config, key, count = sys.argv[1:]
    loaded = read(Path(config), os.environ, {})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(msgspec.json.encode(runner.run(measure(loaded, key, int(count)))).decode())


if __name__ == "__main__":
    main()
