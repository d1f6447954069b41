"""One decision by the embedded engine beside one by an OPA server on a Unix socket: the same policy and inputs.

``python -m benchmarks.decision_server CONFIG KEY COUNT`` prints the median microseconds of both, one call at a time,
in turns, so that both meet the same noise.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from benchmarks.evaluation import Silent, inputs
from benchmarks.load import Stream
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles, read_policy, revision_of
from sidecar.adapters.policy.library import opa_executable
from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.policy.server_connection import ServerConnection, ServerSettings
from sidecar.config.load import read
from sidecar.ports import PolicyEngine

_TURN: Final = 100  # decisions of one engine before it is the other's turn
_BUDGET: Final = 5.0
_LIMIT_SECONDS: Final = 120


async def compare(files: PolicyFiles, documents: list[bytes]) -> tuple[float, float]:
    """Median microseconds of one decision: embedded, and by the server. Raises ``RuntimeError`` without a server."""
    embedded = EmbeddedEngine(_BUDGET, _BUDGET, Silent())
    embedded.load(files)
    with tempfile.TemporaryDirectory(prefix="opa-") as folder:
        socket = Path(folder) / "opa.sock"
        process = _start(Path(folder), socket, files)
        server = ServerEngine(ServerConnection(ServerSettings(f"unix://{socket}")), _BUDGET, 600.0, Silent())
        try:
            await _ready(server)
            taken: dict[PolicyEngine, list[float]] = {embedded: [], server: []}
            for start in range(0, len(documents), _TURN):
                for engine, times in taken.items():
                    for document in documents[start : start + _TURN]:
                        began = time.perf_counter()
                        await engine.evaluate(document)
                        times.append((time.perf_counter() - began) * 1e6)
        finally:
            await server.close()
            process.kill()
            process.wait()
            embedded.close()
    return median(taken[embedded]), median(taken[server])


def _start(folder: Path, socket: Path, files: PolicyFiles) -> subprocess.Popen[bytes]:
    rules = folder / "policy"
    for name, text in files.modules.items():
        path = rules / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (rules / "data.json").write_text(json.dumps(files.data))
    opa, bundle = str(opa_executable()), folder / "bundle.tar.gz"
    build = [opa, "build", "--bundle", str(rules), "--output", str(bundle), "--revision", revision_of(files)]
    subprocess.run(build, check=True, capture_output=True, timeout=_LIMIT_SECONDS)
    serve = [opa, "run", "--server", "--addr", f"unix://{socket}", "--unix-socket-perm", "600"]
    serve += ["--skip-version-check", "--log-level", "error", "--set", "status.console=true", "--bundle", str(bundle)]
    return subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _ready(server: ServerEngine) -> None:
    for _ in range(500):
        await server.look()
        if server.problem is None:
            return
        await asyncio.sleep(0.02)
    raise RuntimeError(f"The OPA server does not decide: {server.problem}.")


def measure(config: Path, key: str, count: int) -> tuple[float, float]:
    """``compare`` in a process of its own: embedded and server, microseconds."""
    command = [sys.executable, "-m", "benchmarks.decision_server", str(config), key, str(count)]
    root = Path(__file__).parents[1]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS)
    if ran.returncode != 0:
        raise RuntimeError(f"The OPA server could not be measured:\n{ran.stderr}")
    embedded, server = map(float, ran.stdout.split())
    return embedded, server


def main() -> None:
    """Run as a program."""
    config, key, count = sys.argv[1:]
    loaded = read(Path(config), os.environ, {})
    policy = loaded.config.policy
    files = read_policy(loaded.resolve(policy.directory), with_library=policy.library)
    documents = inputs(loaded, Stream("evaluation", key), int(count))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(*runner.run(compare(files, documents)))


if __name__ == "__main__":
    main()
