"""From an empty folder to verified evidence, with what ``sidecar init`` writes and the commands it tells."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from sidecar.cli import http
from tests.e2e.far import Far
from tests.e2e.house import WAIT, comes_true, environment

# Ports of its own, so that one run does not meet another.
DOORS = 'doors: {access: "127.0.0.1:0", metrics: "127.0.0.1:0", admin: "127.0.0.1:0"}\n'


def _sidecar(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *words],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=WAIT,
    )  # fmt: skip


def test_what_init_writes_is_served_and_its_first_call_leaves_evidence(tmp_path: Path, far: Far) -> None:
    made = _sidecar(tmp_path, "init", "my start", "--base-url", f"http://127.0.0.1:{far.port}")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    tested, checked, run = (shlex.split(line)[1:] for line in made.stderr.partition("next:\n")[2].splitlines())
    for words in (tested, checked):
        done = _sidecar(tmp_path, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "my start" / "sidecar.yaml").open("a") as file:
        file.write(DOORS)
    ready = tmp_path / "ready"
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar", *run, "--ready-file", str(ready)],
        cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert comes_true(lambda: ready.exists() or process.poll() is not None) and process.poll() is None
        body = {"plane_id": "articles", "action": "query", "payload": {"parameters": {"topic": "tin"}}}
        answer = http.post(json.loads(ready.read_text())["access"], "/v1/access", key, body)
        assert (answer.status, answer.evidence_id is None) == (200, False), answer.body
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    verified = _sidecar(tmp_path / "my start", "evidence", "verify", "-o", "json")
    report = json.loads(verified.stdout)
    assert (verified.returncode, report["ok"], report["records"], report["unknown"]) == (0, True, 2, [])
