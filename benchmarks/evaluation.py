"""The policy's own share of a governed call: the same inputs in a loop of their own.

``python -m benchmarks.evaluation CONFIG KEY COUNT`` prints the CPU microseconds of one evaluation, of all threads of
the process (Go's as well), with building and encoding its input.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.load import Stream
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import read_policy
from sidecar.config.load import Loaded, read
from sidecar.model.call import Call
from sidecar.model.secret import Secret
from sidecar.pipeline.decide import read as read_decision
from sidecar.pipeline.facts import document, facts
from sidecar.pipeline.identify import identify
from sidecar.pipeline.select import select, validate
from sidecar.rules.catalogue import compile_catalogue

_WARM: Final = 1000
_LIMIT_SECONDS: Final = 120


class Silent:
    """An observer that keeps nothing."""

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """Nothing is done with it."""


async def evaluate(loaded: Loaded, stream: Stream, count: int) -> float:
    """CPU microseconds of one of ``count`` evaluations. Raises ``RuntimeError`` when the policy denies one."""
    catalogue, policy = compile_catalogue(loaded.config), loaded.config.policy
    engine = EmbeddedEngine(policy.quick_ms / 1000, policy.budget_ms / 1000, Silent())
    engine.load(read_policy(loaded.resolve(policy.directory), with_library=policy.library))
    calls = [_call(stream, f"{serial:010d}") for serial in range(_WARM + count)]
    principal, target = identify(calls[0], catalogue), select(calls[0], catalogue)
    asked = [(call, validate(call.parameters, target.operation)) for call in calls]
    now = time.time_ns() // 1000

    async def decide(some: list[tuple[Call, Any]]) -> None:
        for call, rendered in some:
            verdict = await engine.evaluate(document(facts(call, principal, target, call.parameters, rendered, now)))
        if read_decision(verdict).allow is not True:
            raise RuntimeError("The policy denies the call that is measured.")

    await decide(asked[:_WARM])
    started = time.process_time()
    await decide(asked[_WARM:])
    used = time.process_time() - started
    engine.close()
    return used / count * 1e6


def inputs(loaded: Loaded, stream: Stream, count: int) -> list[bytes]:
    """The documents that ``count`` calls of a stream are decided on."""
    catalogue = compile_catalogue(loaded.config)
    calls = [_call(stream, f"{serial:010d}") for serial in range(count)]
    principal, target = identify(calls[0], catalogue), select(calls[0], catalogue)
    now = time.time_ns() // 1000
    return [
        document(facts(call, principal, target, call.parameters, validate(call.parameters, target.operation), now))
        for call in calls
    ]


def measure(config: Path, key: str, count: int) -> float:
    """``evaluate`` in a process of its own, so that only its threads are counted."""
    command = [sys.executable, "-m", "benchmarks.evaluation", str(config), key, str(count)]
    root = Path(__file__).parents[1]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS)
    if ran.returncode != 0:
        raise RuntimeError(f"The policy could not be measured:\n{ran.stderr}")
    return float(ran.stdout)


def _call(stream: Stream, serial: str) -> Call:
    return Call(
        id=f"bench-{serial}",
        surface="access",
        action="query",
        plane="articles",
        parameters=stream.parameters(serial),
        token=Secret(stream.key.encode()),
    )


def main() -> None:
    """Run as a program."""
    config, key, count = sys.argv[1:]
    loaded = read(Path(config), os.environ, {})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(evaluate(loaded, Stream("evaluation", key), int(count))))


if __name__ == "__main__":
    main()
