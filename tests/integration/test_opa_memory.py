"""What the engine holds in memory follows what is loaded now, not what was loaded before."""

from __future__ import annotations

import subprocess
import sys

from tests.e2e.house import ROOT, environment

ENTRIES = 40_000
# In a process of its own: it prints its resident memory in bytes after the first policy, and after eight more.
SWAPS = f"""
import time
from pathlib import Path
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.files import PolicyFiles

class Silent:
    def observe(self, event, fields):
        pass

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def settled(bound):
    until = time.monotonic() + 30
    while resident() > bound and time.monotonic() < until:
        time.sleep(0.05)
    return resident()

engine = EmbeddedEngine(0.005, 1.0, Silent())
entries = {{f"agent-{{number}}": ["articles/lookup", "articles/list"] for number in range({ENTRIES})}}
before = resident()
engine.load(PolicyFiles({{}}, {{"entries": entries}}))
loaded = resident() - before
for number in range(8):
    engine.load(PolicyFiles({{}}, {{"entries": entries, "swap": number}}))
print(loaded, settled(before + loaded) - before)
"""


def test_policies_that_were_replaced_are_given_back() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SWAPS], env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    first, after_swaps = map(int, ran.stdout.split())
    assert after_swaps <= first
