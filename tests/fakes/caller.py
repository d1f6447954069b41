"""A caller that never leaves the process. It passes the same contract suite as the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
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


class FakeCaller:
    """Answers every call with ``reply`` and keeps the requests in ``sent``."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply = reply or Reply()
        self.sent: list[Outbound] = []

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        if permit.connector != connector:
            raise Unavailable("internal_error", "the permit is for another connector")
        if not destination.addresses:
            raise UpstreamFailure("upstream_unavailable", "no checked address", sent=False)
        self.sent.append(request)
        if self.reply.silent:
            raise UpstreamFailure("upstream_timeout", "the upstream did not answer in time", sent=True)
        limit = request.max_bytes
        if permit.obligations.max_bytes is not None:
            limit = min(limit, permit.obligations.max_bytes)
        pieces = self._pieces(limit)
        headers = [*self.reply.headers, (b"content-length", b"%d" % len(self.reply.body))]
        body = pieces if request.stream else b"".join([piece async for piece in pieces])
        return Inbound(self.reply.status, headers, body, destination.addresses[0])

    async def _pieces(self, limit: int) -> AsyncIterator[bytes]:
        body = self.reply.body
        half = len(body) // 2
        if half > limit:
            raise _too_large()
        yield body[:half]
        if self.reply.breaks:
            raise UpstreamFailure("upstream_invalid", "the upstream broke off", sent=True)
        if len(body) > limit:
            raise _too_large()
        yield body[half:]


def _too_large() -> UpstreamFailure:
    return UpstreamFailure("answer_too_large", "the answer is too large", sent=True)
