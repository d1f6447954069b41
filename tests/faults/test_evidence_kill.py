"""kill -9 under load, at random moments: no acknowledged record is missing (E01, E20)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.verify import verify_log
from tests.evidence import open_log

ROUNDS = int(os.environ.get("SIDECAR_KILL_ROUNDS", "25"))
WORKERS = 16


def run_until_killed(directory: Path, after: float) -> dict[int, str]:
    """What one process acknowledged before it was killed ``after`` seconds of writing."""
    command = [sys.executable, "-m", "tests.faults.evidence_child", str(directory), str(WORKERS)]
    acknowledged: dict[int, str] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        timer = threading.Timer(after, child.send_signal, [signal.SIGKILL])
        timer.start()
        for line in child.stdout:
            word, *rest = line.decode().split()
            assert (word, len(rest), line[-1:]) == ("ack", 2, b"\n"), line
            acknowledged[int(rest[0])] = rest[1]
        timer.join()
        assert child.wait(10) == -signal.SIGKILL
    return acknowledged


@pytest.mark.timeout(60 + 5 * ROUNDS)
async def test_no_acknowledged_record_is_missing_after_kill_9(tmp_path: Path) -> None:  # E01
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    acknowledged: dict[int, str] = {}
    for number in range(ROUNDS):
        fresh = run_until_killed(tmp_path, moments.uniform(0.0, 0.25))
        assert not acknowledged.keys() & fresh.keys(), f"seed {seed}, round {number}: an index was given twice"
        acknowledged |= fresh
    log = open_log(tmp_path)
    unknown, size = set(log.open_intents), log.size
    await log.close()
    reader = Reader.open(tmp_path)
    found = {leaf.index: leaf.call_id for leaf in reader.range(0, size)}
    lost = {index: call for index, call in acknowledged.items() if found.get(index) != call}
    assert not lost, f"seed {seed}: {len(lost)} of {len(acknowledged)} acknowledged records are missing"
    assert len(acknowledged) > ROUNDS
    report = verify_log(tmp_path)
    assert report.ok, report.problems
    assert set(report.unknown) == unknown  # E20: at most one for each worker and kill
    assert len(unknown) <= ROUNDS * WORKERS
