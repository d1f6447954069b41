"""A caller that never leaves the process. It passes the same contract suite as the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from sidecar.errors import Unavailable, UpstreamFailure
from sidecar.model.decision import Permit
from sidecar.model.exchange import Destination, Inbound, Outbound


@dataclass
class Reply:
    """What the upstream does: answers, breaks off after the body's first half, or stays silent."""

    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    breaks: bool = False
    silent: bool = False


# a reply within the call's bounds, an answer as it is, an answer made from the request, or a failure to raise
Step = Reply | Inbound | Callable[[Outbound], Inbound] | Exception


class ScriptedCaller:
    """Each call gets the next step, the last one again and again; ``sent`` is every request, in order."""

    def __init__(self, *script: Step) -> None:
        self.script: list[Step] = list(script) or [Reply()]
        self.sent: list[Outbound] = []

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        if permit.connector != connector:
            raise Unavailable("internal_error", "the permit is for another connector")
        if not destination.addresses:
            raise UpstreamFailure("upstream_unavailable", "no checked address", sent=False)
        step = self.script[min(len(self.sent), len(self.script) - 1)]
        self.sent.append(request)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Reply):
            return await _reply(step, permit, destination, request)
        return step if isinstance(step, Inbound) else step(request)


async def _reply(reply: Reply, permit: Permit, destination: Destination, request: Outbound) -> Inbound:
    if reply.silent:
        raise UpstreamFailure("upstream_timeout", "the upstream did not answer in time", sent=True)
    limit = request.max_bytes
    if permit.obligations.max_bytes is not None:
        limit = min(limit, permit.obligations.max_bytes)
    pieces = _pieces(reply, limit)
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    body = pieces if request.stream else b"".join([piece async for piece in pieces])
    return Inbound(reply.status, headers, body, destination.addresses[0])


async def _pieces(reply: Reply, limit: int) -> AsyncIterator[bytes]:
    half = len(reply.body) // 2
    if half > limit:
        raise _too_large()
    yield reply.body[:half]
    if reply.breaks:
        raise UpstreamFailure("upstream_invalid", "the upstream broke off", sent=True)
    if len(reply.body) > limit:
        raise _too_large()
    yield reply.body[half:]


def _too_large() -> UpstreamFailure:
    return UpstreamFailure("answer_too_large", "the answer is too large", sent=True)
