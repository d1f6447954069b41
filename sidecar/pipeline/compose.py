"""The outbound request, built from the template alone: no header of the agent's ever reaches the upstream (INV-2)."""

from __future__ import annotations

from sidecar.errors import Refused
from sidecar.model.call import Call
from sidecar.model.decision import Permit
from sidecar.model.exchange import Outbound
from sidecar.pipeline.select import Target
from sidecar.rules.catalogue import Operation
from sidecar.rules.templates import Rendered

_IDENTITY = (b"accept-encoding", b"identity")  # an encoded answer could not be scrubbed
_ACCEPT_ANY = (b"accept", b"*/*")
_AGENT = (b"user-agent", b"policy-sidecar")
_SHORTEST = 0.001  # seconds: a try without time left fails as one that timed out


def compose(call: Call, target: Target, rendered: Rendered, permit: Permit) -> Outbound:
    """The request without its credential. Raises ``Refused("invalid_payload")`` for an unsendable idempotency key."""
    operation = target.operation
    headers = [_AGENT, _IDENTITY, *rendered.headers]
    if not any(name == b"accept" for name, _ in rendered.headers):
        headers.append(_ACCEPT_ANY)
    if call.idempotency_key is not None and operation.idempotency_header is not None:
        headers.append((operation.idempotency_header, _visible(call.idempotency_key)))
    limits = permit.obligations
    return Outbound(
        method=operation.method,
        target=f"{rendered.path}?{rendered.query}" if rendered.query else rendered.path,
        headers=headers,
        body=rendered.body,
        max_bytes=operation.max_bytes if limits.max_bytes is None else min(operation.max_bytes, limits.max_bytes),
        stream=operation.stream,
        timeout=limits.timeout_ms / 1000 if limits.timeout_ms is not None else None,
    )


def is_idempotent(call: Call, operation: Operation) -> bool:
    """Whether the request does no harm twice: the operation says so, or the upstream got a key to know it by."""
    return operation.idempotent or (call.idempotency_key is not None and operation.idempotency_header is not None)


def shortened(request: Outbound, spent: float) -> Outbound:
    """The same request for a second try: the policy gave time for all tries, ``spent`` seconds of it are gone."""
    return request if request.timeout is None else request._replace(timeout=max(request.timeout - spent, _SHORTEST))


def _visible(text: str) -> bytes:
    if not text.isascii() or not text.isprintable() or not text.strip():
        raise Refused("invalid_payload", "idempotency_key must be visible ASCII.")
    return text.encode("ascii")
