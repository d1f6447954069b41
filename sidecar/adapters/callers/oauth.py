"""``oauth://id``: access tokens that the sidecar gets for itself with a client's secret, away from the agent.

A token is fetched by one request however many calls want it, over a checked address like any other upstream's, with
TLS that verifies. It is kept as ciphertext under a key of this process, until shortly before its end. A token that an
upstream refused is fetched anew; a client's secret that the token endpoint refused is resolved anew, once.

A token is no better than the secret it was got with, which each call resolves: once that was deleted or has ended, or
its store says nothing of it any more, the token is not used; once it was rotated, a token is got with the new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from sidecar.errors import Misconfigured, Refused, SidecarError, Unavailable, UpstreamFailure
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.ports import Clock, CredentialSource, Observer, Refreshing
from sidecar.rules.oauth import ClientGrant, Token, read_token, token_request, unavailable
from sidecar.rules.sealing import KEY_BYTES, Opener, Sealer
from sidecar.wire.client import Client, Target, Timeouts
from sidecar.wire.tls import client_context

KIND: Final = "OAUTH"
SCHEME: Final = "oauth"
ANSWER_BYTES: Final = 1 << 16
TIMEOUTS: Final = Timeouts(connect=3.0, head=5.0, idle=5.0, total=10.0)
FAILED_SECONDS: Final = 1.0  # a failure is remembered so long: a refused client is no flood of requests
AGAIN_SECONDS: Final = 10.0  # between two times that a token is given up because an upstream refused it
MARGIN_SECONDS: Final = 30.0  # before its end a token is renewed, so that none ends on its way
_MARGIN_SHARE: Final = 0.2  # of a short-lived one
_MICROSECONDS: Final = 1_000_000

Locate = Callable[[str, int], Awaitable[tuple[str, ...]]]


class Ask(Protocol):
    """Sends one POST to a token endpoint."""

    async def __call__(
        self, grant: ClientGrant, addresses: tuple[str, ...], headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, bytes]:
        """The answer's status and body. Raises ``UpstreamFailure`` and ``Misconfigured``."""


class _Kept(NamedTuple):
    """``until`` is monotonic seconds, ``expires`` microseconds since the epoch; ``got_with`` marks the secret."""

    opener: Opener
    version: str
    got_with: bytes
    until: float
    expires: int


class _Wanted(NamedTuple):
    """What one fetch is for: whoever wants something else, as after a reload or a rotation, does not wait for it."""

    name: str
    grant: ClientGrant
    got_with: bytes


class _Failed(NamedTuple):
    """``until`` is monotonic seconds."""

    wanted: _Wanted
    until: float
    error: SidecarError


class OAuthSource:
    """A ``CredentialSource`` and ``Refreshing``, for the grants of ``configure``.

    ``locate`` looks a name up and checks its addresses; ``sources`` of ``configure`` resolve the clients' secrets.
    """

    def __init__(self, locate: Locate, clock: Clock, observer: Observer, ask: Ask | None = None) -> None:
        self._locate = locate
        self._clock = clock
        self._observer = observer
        self._ask: Ask = ask or post
        self._sealer = Sealer(secrets.token_bytes(KEY_BYTES))
        self._marker = secrets.token_bytes(KEY_BYTES)
        self._grants: Mapping[str, ClientGrant] = {}
        self._sources: Mapping[str, CredentialSource] = {}
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[str, _Failed] = {}
        self._flights: dict[_Wanted, asyncio.Task[_Kept]] = {}
        self._refreshed: dict[str, float] = {}  # when a refused token was last given up, monotonic seconds
        self._issued = 0

    def configure(self, grants: Mapping[str, ClientGrant], sources: Mapping[str, CredentialSource]) -> None:
        """Take other grants; a token whose grant did not change stays."""
        self._kept = {name: kept for name, kept in self._kept.items() if grants.get(name) == self._grants.get(name)}
        self._failed.clear()
        self._refreshed.clear()
        self._grants, self._sources = dict(grants), sources

    async def resolve(self, reference: Reference) -> Credential:
        """The token. Raises ``Unavailable("credential_unavailable")`` with the reason."""
        name = reference.locator
        grant = self._grants.get(name) if reference.scheme == SCHEME else None
        if grant is None:
            raise unavailable("token_unknown", "No grant of this id is configured.")
        secret = await self._secret(grant)
        kept = self._kept.get(name)
        mark = self._mark(secret)
        if kept is None or kept.got_with != mark or self._is_over(kept):
            kept = await self._fetched(_Wanted(name, grant, mark), secret)
        return Credential(Secret(kept.opener.plain()), kept.version, KIND, kept.expires)

    async def refresh(self, reference: Reference, refused: str) -> Credential:
        """Another token than the ``refused`` one, or the same within ten seconds of the last time: an upstream that
        refuses every token must not make the token endpoint work for each of its refusals. Raises as ``resolve``.
        """
        name, now = reference.locator, self._clock.monotonic()
        kept = self._kept.get(name) if reference.scheme == SCHEME else None
        if kept is not None and kept.version == refused and now - self._refreshed.get(name, -inf) >= AGAIN_SECONDS:
            self._refreshed[name] = now
            del self._kept[name]
        return await self.resolve(reference)

    def _mark(self, secret: Credential) -> bytes:
        """What tells one secret from another: a version does not everywhere, and counts anew after a deletion."""
        return hashlib.blake2b(secret.secret.reveal(), digest_size=16, key=self._marker).digest()

    def _is_over(self, kept: _Kept) -> bool:
        """By either clock: one stands still while the machine sleeps, the other may be put right."""
        return self._clock.monotonic() >= kept.until or self._clock.now() >= kept.expires

    async def _secret(self, grant: ClientGrant) -> Credential:
        """The client's, as it is now. Raises ``Unavailable("credential_unavailable")``."""
        source = self._sources.get(grant.reference.scheme)
        if source is None:
            raise unavailable("token_unknown", f"No store of {grant.reference.scheme}:// credentials is configured.")
        return self._unended(await source.resolve(grant.reference))

    def _unended(self, secret: Credential) -> Credential:
        if secret.expires is not None and secret.expires <= self._clock.now():
            raise unavailable("credential_expired", "The client's secret has expired; rotate it.")
        return secret

    async def _fetched(self, wanted: _Wanted, secret: Credential) -> _Kept:
        """One fetch for all who wait; it goes on without a caller that went away."""
        failed = self._failed.get(wanted.name)
        if failed is not None and failed.wanted == wanted and self._clock.monotonic() < failed.until:
            raise Unavailable(failed.error.code, failed.error.detail, failed.error.reasons)
        flight = self._flights.get(wanted)
        if flight is None:
            flight = self._flights[wanted] = asyncio.create_task(self._fetch(wanted, secret))
            flight.add_done_callback(lambda done: self._landed(wanted, done))
        return await asyncio.shield(flight)

    def _landed(self, wanted: _Wanted, done: asyncio.Task[_Kept]) -> None:
        self._flights.pop(wanted, None)
        error = None if done.cancelled() else done.exception()
        if isinstance(error, SidecarError):
            self._failed[wanted.name] = _Failed(wanted, self._clock.monotonic() + FAILED_SECONDS, error)
        if not done.cancelled():
            self._tell(wanted.name, error, None if error is not None else done.result().version)

    def _tell(self, name: str, error: BaseException | None, version: str | None) -> None:
        outcome = "resolved"
        if error is not None:
            reasons = error.reasons if isinstance(error, SidecarError) else ()
            outcome = reasons[0].code if reasons else "credential_unavailable"
        place = f"{SCHEME}://{name}"
        self._observer.observe(
            "credential", {"outcome": outcome, "scheme": SCHEME, "place": place, "version": version}
        )

    async def _fetch(self, wanted: _Wanted, secret: Credential) -> _Kept:
        name, grant = wanted.name, wanted.grant
        asked, now = self._clock.monotonic(), self._clock.now()
        used, token = await self._token(grant, secret)
        margin = min(MARGIN_SECONDS, token.seconds * _MARGIN_SHARE)
        self._issued += 1
        kept = _Kept(
            self._sealer.keep(token.value, name.encode()),
            f"{used.version}-{self._issued}",
            self._mark(used),
            asked + token.seconds - margin,
            now + int(token.seconds * _MICROSECONDS),
        )
        if self._grants.get(name) == grant:  # not changed meanwhile
            self._kept[name] = kept
            self._failed.pop(name, None)
        return kept

    async def _token(self, grant: ClientGrant, secret: Credential) -> tuple[Credential, Token]:
        """The token, and the secret that it was got with."""
        status, body = await self._post(grant, secret)
        if status in (400, 401):  # the secret may have been rotated meanwhile (RFC 6749 section 5.2)
            again = self._unended(await _anew(self._sources[grant.reference.scheme], grant.reference, secret.version))
            if again.version != secret.version:
                secret = again
                status, body = await self._post(grant, secret)
        return secret, read_token(status, body)

    async def _post(self, grant: ClientGrant, secret: Credential) -> tuple[int, bytes]:
        headers, body = token_request(grant, secret.secret.reveal())
        try:
            addresses = await self._locate(grant.host, grant.port)
            return await self._ask(grant, addresses, headers, body)
        except UpstreamFailure as failure:
            raise unavailable("token_unreachable", f"The token endpoint gave no answer: {failure.detail}.") from None
        except Misconfigured:  # whose words name a file, which is nothing for agents
            detail = "The token endpoint cannot be asked: its ca_file cannot be used; run sidecar check."
            raise unavailable("token_unreachable", detail) from None
        except (Refused, Unavailable) as error:
            raise unavailable("token_forbidden", f"The token endpoint may not be reached: {error.detail}") from None


async def _anew(source: CredentialSource, reference: Reference, refused: str) -> Credential:
    if isinstance(source, Refreshing):
        return await source.refresh(reference, refused)
    return await source.resolve(reference)


async def post(
    grant: ClientGrant, addresses: tuple[str, ...], headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, bytes]:
    """One request over a connection of its own: tokens are fetched seldom. Raises as ``Ask`` says."""
    context = await asyncio.to_thread(client_context, Path(grant.ca_file) if grant.ca_file else None)
    client = Client(connections_per_target=1)
    try:
        target = Target("https", grant.host, grant.port, addresses, context)
        answer = await client.send(target, "POST", grant.path, headers, body, TIMEOUTS)
        return answer.status, await answer.read(ANSWER_BYTES)
    finally:
        await client.close()
