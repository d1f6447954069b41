"""Exchanges with one OPA server: over a Unix socket, or TCP with TLS, a client certificate and a token.

Nothing of the environment is used (no proxies, no .netrc), no redirect is followed, no cookie kept, no body
decompressed, and none read beyond its bound. Certificates and keys are read again when their files change. The token
is resolved for each exchange, so that a rotated one holds from the next on, and nothing keeps it in between.
"""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
from msgspec import Struct
from yarl import URL

from sidecar.adapters.policy.server_answers import Unusable
from sidecar.adapters.trust import verifying
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret

ANSWER_LIMIT: Final = 1 << 20  # bytes of a decision, or of the server's health
LARGE_LIMIT: Final = 64 << 20  # bytes of its status, and of its policies with their syntax trees
_KEEP_SECONDS: Final = 30.0  # an idle connection; OPA itself closes none
_ATTEMPTS: Final = 2  # a connection that the server closed while idle is only noticed when it is used

Token = Callable[[], Awaitable[Secret]]


class ServerSettings(Struct, frozen=True):
    """Where the server is. ``url`` is ``https://host[:port]``, ``http://`` on loopback, or ``unix:///path``."""

    url: str
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    connections: int = 64


class Reply(NamedTuple):
    """One answer."""

    status: int
    content_type: str
    date: str | None
    body: bytes


class ServerConnection:
    """Opened by ``prepare``, on the running loop. Bounding the time is the caller's, by ``asyncio.timeout``."""

    def __init__(self, settings: ServerSettings, token: Token | None = None) -> None:
        self._settings = settings
        self._token = token
        scheme, _, rest = settings.url.partition("://")
        self._socket = Path(rest) if scheme == "unix" else None
        self._base = "http://opa" if self._socket else settings.url.rstrip("/")
        self._secure = scheme == "https"
        self._session: aiohttp.ClientSession | None = None
        self._print: tuple[tuple[int, int], ...] = ()

    async def prepare(self) -> None:
        """Open, or open anew where a certificate's file changed. Raises ``Unusable`` with what is wrong here."""
        if self._socket is not None:
            _check_socket(self._socket)
        now = self._files_print()
        if self._session is not None and now == self._print:
            return
        connector = await self._connector()
        old, self._print = self._session, now
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            headers={"Accept-Encoding": "identity", "User-Agent": "policy-sidecar"},
        )
        if old is not None:
            await old.close()

    async def exchange(self, method: str, path: str, body: bytes | None = None, limit: int = ANSWER_LIMIT) -> Reply:
        """One request and its whole answer. Raises ``Unusable`` for everything that is not one.

        Deciding changes nothing at the server, so a request on a connection that died is sent once more.
        """
        headers = {"Authorization": await self._bearer()} if self._token is not None else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        for _ in range(_ATTEMPTS):
            session = self._session
            if session is None or session.closed:
                raise Unusable("no connection to it is open")
            try:
                return await _exchange(session, method, URL(self._base + path, encoded=True), body, headers, limit)
            except aiohttp.ClientConnectorCertificateError:
                raise Unusable("its certificate is not one that policy.server trusts for its name") from None
            except aiohttp.ClientConnectorError:
                raise Unusable("it cannot be connected to") from None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
                continue
            except (aiohttp.ClientError, OSError, ValueError):
                raise Unusable("its answer is broken off, or not HTTP") from None
        raise Unusable("it closes connections without an answer")

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _bearer(self) -> str:
        assert self._token is not None
        try:
            secret = await self._token()
        except Unavailable:
            raise Unusable("the sidecar's token for it could not be resolved (policy.server.token)") from None
        text = bearer(secret)
        if text is None:
            raise Unusable("the sidecar's token for it cannot stand in a header (policy.server.token)")
        return text

    async def _connector(self) -> aiohttp.BaseConnector:
        limit = self._settings.connections
        if self._socket is not None:
            return aiohttp.UnixConnector(str(self._socket), limit=limit, keepalive_timeout=_KEEP_SECONDS)
        context = await asyncio.to_thread(self._context) if self._secure else False
        return aiohttp.TCPConnector(ssl=context, limit=limit, keepalive_timeout=_KEEP_SECONDS)

    def _context(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = verifying(settings.ca_file)
            if settings.client_cert is not None:
                _check_key(settings.client_key or settings.client_cert)
                # A key that wants a passphrase must not ask for it on a terminal.
                context.load_cert_chain(settings.client_cert, settings.client_key, password="")
        except (OSError, ssl.SSLError):
            raise Unusable(
                "policy.server's ca_file, client_cert or client_key cannot be read as PEM, or do not belong together"
            ) from None
        return context

    def _files_print(self) -> tuple[tuple[int, int], ...]:
        settings = self._settings
        files = [file for file in (settings.ca_file, settings.client_cert, settings.client_key) if file is not None]
        try:
            return tuple((status.st_mtime_ns, status.st_ino) for status in map(Path.stat, files))
        except OSError:
            raise Unusable("a file of policy.server (ca_file, client_cert, client_key) is missing") from None


def bearer(token: Secret) -> str | None:
    """The ``Authorization`` of a token; None where it has bytes that cannot stand there, such as a line's end."""
    plain = token.reveal()
    if not plain.isascii() or any(byte <= 32 or byte == 127 for byte in plain):
        return None
    return f"Bearer {plain.decode()}"


async def _exchange(
    session: aiohttp.ClientSession, method: str, url: URL, body: bytes | None, headers: dict[str, str], limit: int
) -> Reply:
    async with session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
        parts, size = [], 0
        async for part in answer.content.iter_any():
            size += len(part)
            if size > limit:
                answer.close()
                raise Unusable(f"its answer is larger than {limit} bytes")
            parts.append(part)
        if answer.status in (401, 403):
            raise Unusable("it refuses the sidecar (policy.server.token, or the server's own system.authz)")
        return Reply(answer.status, answer.content_type, answer.headers.get("Date"), b"".join(parts))


def _check_socket(path: Path) -> None:
    """Who may write to the socket may replace the policy, so not everybody may."""
    try:
        status = path.stat()
    except OSError:
        raise Unusable("its socket is not there (policy.server.url)") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise Unusable("what policy.server.url names is no socket")
    if status.st_mode & stat.S_IWOTH:
        raise Unusable("everybody may write to its socket; start it with --unix-socket-perm 600")


def _check_key(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise Unusable("everybody may read policy.server.client_key; chmod 600")
