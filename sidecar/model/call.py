"""What the agent asks, and what it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from msgspec import Struct

from sidecar.model.principal import Principal
from sidecar.model.secret import Secret


class Call(Struct, frozen=True, kw_only=True):
    """One call, on any surface, before anything about it is believed.

    Either ``plane`` and ``action`` are given (mediated access) or ``connector`` and ``operation`` (direct).
    ``principal`` is set only by doors whose caller the operating system has proven (the admin socket, probes).
    """

    id: str
    surface: str  # access | admin | health
    action: str  # query | retrieve | search | list | execute
    plane: str | None = None
    connector: str | None = None
    operation: str | None = None
    parameters: Any = None
    idempotency_key: str | None = None
    session: str | None = None
    token: Secret | None = None
    principal: Principal | None = None
    peer: str = ""
    traceparent: str | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """A refusal as every surface shows it (RFC 9457, with our extension members)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    evidence_id: str | None
    policy_revision: str | None
    reasons: tuple[dict[str, str], ...] = ()


class Outcome(Struct, frozen=True, kw_only=True):
    """What a call came to: either ``problem`` is set, or the upstream's status with the interpreted body.

    A streamed body is an iterator whose every chunk is already covered by durable evidence; ``evidence_id`` is
    then None and ``final_evidence_id()`` gives it once the iterator has ended.
    """

    call_id: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | AsyncIterator[bytes] = b""
    evidence_id: str | None = None
    problem: Problem | None = None
    retry_after: float | None = None
    final_evidence_id: Callable[[], str | None] | None = None
