"""Requests as the server hands them to a door."""

from __future__ import annotations

import json
from typing import Any

from sidecar.wire.message import Reply, Request


def asking(
    method: str,
    target: str,
    body: object = None,
    *,
    key: str | None = None,
    raw: bytes | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
    peer: str = "127.0.0.1:4000",
) -> Request:
    """A request with ``key`` as its API key; ``body`` as JSON, or ``raw`` as it is."""
    fields = list(headers or [])
    if key is not None:
        fields.append((b"authorization", b"Bearer " + key.encode()))
    if body is not None or raw is not None:
        if not any(name == b"content-type" for name, _ in fields):
            fields.append((b"content-type", b"application/json"))
        raw = json.dumps(body).encode() if raw is None else raw
    return Request(method, target, fields, peer, raw or b"")


def document(reply: Reply) -> Any:
    """The JSON of a reply that is not streamed."""
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


def header(reply: Reply, name: bytes) -> bytes | None:
    """The one value of a header; twice is a failure of the test."""
    values = [value for known, value in reply.headers if known == name]
    assert len(values) <= 1, (name, values)
    return values[0] if values else None
