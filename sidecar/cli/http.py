"""One request to a sidecar's own agent door, for the demo."""

from __future__ import annotations

import http.client
from typing import Any, NamedTuple

import orjson

_TIMEOUT_SECONDS = 30.0


class Answer(NamedTuple):
    """Status, evidence id and body."""

    status: int
    evidence_id: str | None
    body: bytes

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is not one."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}


def post(port: int, path: str, key: str, body: object) -> Answer:
    """POST ``body`` as JSON to the door on ``port`` of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", path, orjson.dumps(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers.get("Sidecar-Evidence-Id"), answer.read())
    finally:
        connection.close()
