"""The load: wrk with a stream of payloads no two of which are the same."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

PATH: Final = "/v1/access"
HOLE: Final = "@@@@@@@@@@"  # load.lua puts the serial number here
_SCRIPT: Final = Path(__file__).with_name("load.lua")
_RESULT: Final = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)
_GRACE_SECONDS: Final = 30


class Load(msgspec.Struct, frozen=True):
    """What wrk saw: completed requests, latencies in microseconds, broken exchanges and answers that are not 2xx."""

    requests: int
    microseconds: int
    p50: float
    p99: float
    broken: int
    refused: int

    @property
    def per_second(self) -> float:
        """Completed requests a second."""
        return self.requests / self.microseconds * 1e6


class Stream(NamedTuple):
    """Which payloads are sent, and by whom. ``label`` makes them differ from every other run's."""

    label: str
    key: str
    keyed: bool = False  # with an idempotency key in each, which the upstream and the evidence both see
    repeated: bool = False  # the same payload again and again

    def parameters(self, serial: str) -> dict[str, Any]:
        """The operation's parameters in one payload."""
        return {"item": f"{self.label}-{serial}", "note": f"hello there, number {serial}"}

    def body(self, serial: str) -> str:
        """One request's body."""
        payload: dict[str, Any] = {"parameters": self.parameters(serial)}
        if self.keyed:
            payload["idempotency_key"] = f"{self.label}-{serial}"
        body = {"plane_id": "articles", "action": "query", "payload": payload}
        return json.dumps(body, separators=(",", ":"))


def drive(port: int, stream: Stream, connections: int, seconds: int, timeout: int = 5, rate: int = 0) -> Load:
    """Load the subject on ``port`` of this machine. An answer later than ``timeout`` seconds counts as broken.

    ``rate`` is how many requests a second are sent at most; 0 is as many as are answered.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={timeout}s", "-s", str(_SCRIPT)]
    body = stream.body("0" * len(HOLE) if stream.repeated else HOLE)
    command += [f"http://127.0.0.1:{port}{PATH}", "--", body, f"Bearer {stream.key}", str(rate)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + timeout + _GRACE_SECONDS
    )
    found = _RESULT.search(ran.stdout)
    if found is None:
        raise RuntimeError(f"wrk gave no result: {ran.stdout}{ran.stderr}")
    return msgspec.json.decode(found[1], type=Load)
