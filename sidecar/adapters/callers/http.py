"""Sends permitted calls to HTTP upstreams: one pool of connections a connector.

Retries and the circuit breaker live in the pipeline; here a request goes out at most once. Redirects are answers like
any other. Proxy variables of the environment mean nothing (A31).
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sidecar.adapters.callers.identity import Identities
from sidecar.errors import Misconfigured, Unavailable, UpstreamFailure
from sidecar.model.decision import Permit
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.wire.client import Client, Target, Timeouts
from sidecar.wire.fields import Fields
from sidecar.wire.tls import client_context

_HOP_BY_HOP: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What one connector's calls need. ``secure`` says that its base URL is https.

    ``ca_file`` (PEM) replaces the system's authorities for this connector. ``idle_seconds`` is how long an unused
    connection is kept.
    """

    secure: bool = True
    ca_file: Path | None = None
    connections: int = 64
    idle_seconds: float = 30.0
    timeouts: Timeouts = field(default_factory=Timeouts)


class _Line:
    """One connector: its settings, its TLS context, its connections, and the last target it was asked for."""

    __slots__ = ("_last", "client", "identities", "identity", "settings", "tls")

    def __init__(self, settings: HttpSettings, identity: bytes | None, tls: ssl.SSLContext | None) -> None:
        self.settings = settings
        self.identity = identity
        self.tls = tls
        self.client = Client(settings.connections, settings.idle_seconds)
        self.identities: Identities[_Line] | None = None  # lines of its client certificates, by version
        self._last: tuple[Destination, Target] | None = None

    def target(self, destination: Destination) -> Target:
        """The wire's view of ``destination``. Raises ``UpstreamFailure`` if it may not be dialled at all."""
        if self._last is not None and self._last[0] == destination:
            return self._last[1]
        if not destination.addresses:
            raise UpstreamFailure("upstream_unavailable", f"{destination.host} has no checked address", sent=False)
        if (destination.scheme == "https") != self.settings.secure:
            detail = f"the connector does not speak {destination.scheme} to {destination.host}"
            raise UpstreamFailure("upstream_unavailable", detail, sent=False)
        tls = self.tls if self.settings.secure else None
        target = Target(destination.scheme, destination.host, destination.port, destination.addresses, tls)
        self._last = (destination, target)
        return target


class HttpCaller:
    """The ``Caller`` of kind http. Raises ``Misconfigured`` from its constructor and ``swap`` for a bad CA file."""

    def __init__(self, settings: dict[str, HttpSettings]) -> None:
        self._lines: dict[str, _Line] = {}
        self._retired: list[Client] = []
        self.swap(settings)

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        """One request, one answer; the smaller of the operation's and the permit's bounds hold.

        A streaming answer's iterator must be closed or read to its end. Raises ``UpstreamFailure``.
        """
        if permit.connector != connector:
            raise Unavailable("internal_error", "the permit is for another connector")
        line = self._lines.get(connector)
        if line is None:
            raise UpstreamFailure("upstream_unavailable", f"the connector {connector} is not configured", sent=False)
        if request.certificate is not None:
            line = await self._identities(line).line(request.certificate)
        obligations = permit.obligations
        limit = request.max_bytes
        if obligations.max_bytes is not None and obligations.max_bytes < limit:
            limit = obligations.max_bytes
        timeouts = line.settings.timeouts
        if request.timeout is not None or obligations.timeout_ms is not None:
            timeouts = _shorter(timeouts, request.timeout, obligations.timeout_ms)
        answer = await line.client.send(
            line.target(destination), request.method, request.target, request.headers, request.body, timeouts
        )
        headers = _end_to_end(answer.headers)
        body = answer.stream(limit) if request.stream else await answer.read(limit)
        return Inbound(answer.status, headers, body, answer.peer)

    def swap(self, settings: dict[str, HttpSettings]) -> None:
        """Take new settings. A connector that did not change keeps its connections; what changed or went away ends
        its resting ones now and its busy ones after their answer. Reads the CA files: nothing changes if one is bad.
        """
        contexts: dict[bytes | None, ssl.SSLContext] = {
            line.identity: line.tls for line in self._lines.values() if line.tls is not None
        }
        lines = {}
        for connector, wanted in settings.items():
            identity = _identity(wanted)
            line = self._lines.get(connector)
            if line is None or line.settings != wanted or line.identity != identity:
                if wanted.secure and identity not in contexts:
                    contexts[identity] = client_context(wanted.ca_file)
                line = _Line(wanted, identity, contexts.get(identity) if wanted.secure else None)
            lines[connector] = line
        for connector, old in self._lines.items():
            if lines.get(connector) is not old:
                self._retire(old)
        self._lines = lines

    async def close(self) -> None:
        """End every connection; unfinished answers fail."""
        for line in self._lines.values():
            if line.identities is not None:
                line.identities.retire()
        for client in [line.client for line in self._lines.values()] + self._retired:
            await client.close()

    def connections(self, connector: str) -> tuple[int, int, int]:
        """Connections open or being dialled, resting, and calls waiting for one: for the connector's statistics."""
        line = self._lines.get(connector)
        if line is None:
            return (0, 0, 0)
        counts = [one.client.counts() for one in (line, *(line.identities.lines if line.identities else ()))]
        return sum(one[0] for one in counts), sum(one[1] for one in counts), sum(one[2] for one in counts)

    def _identities(self, line: _Line) -> Identities[_Line]:
        if line.identities is None:
            settings, identity = line.settings, line.identity
            line.identities = Identities(
                settings.ca_file, lambda context: _Line(settings, identity, context), self._retire
            )
        return line.identities

    def _retire(self, line: _Line) -> None:
        """Its resting connections end now, its busy ones after their answer."""
        line.client.retire()
        self._retired = [client for client in self._retired if client.counts() != (0, 0, 0)]
        self._retired.append(line.client)
        if line.identities is not None:
            line.identities.retire()


def _identity(settings: HttpSettings) -> bytes | None:
    """Which authorities the connector trusts: a CA file is known by its content, as it may be replaced in place."""
    if not settings.secure or settings.ca_file is None:
        return None
    try:
        return hashlib.sha256(settings.ca_file.read_bytes()).digest()
    except OSError as error:
        raise Misconfigured(f"the CA file {settings.ca_file} cannot be read: {error.strerror}") from None


def _shorter(timeouts: Timeouts, seconds: float | None, milliseconds: int | None) -> Timeouts:
    total = timeouts.total
    if seconds is not None:
        total = min(total, seconds)
    if milliseconds is not None:
        total = min(total, milliseconds / 1000)
    return replace(timeouts, total=total)


def _end_to_end(headers: Fields) -> Fields:
    """Without the fields that were for this connection only (RFC 9110 section 7.6.1)."""
    nominated: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            nominated.update(token.strip().lower() for token in value.split(b","))
    return [header for header in headers if header[0] not in _HOP_BY_HOP and header[0] not in nominated]
