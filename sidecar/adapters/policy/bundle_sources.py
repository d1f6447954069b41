"""Where bundles come from: a file, a folder with an unpacked bundle, or an HTTP server. Each gives bytes, unverified.

A source is asked again and again with the tag of what it gave last, and answers None while that is what it still has.
It never follows a redirect, and reads no more than a bundle may have.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import ssl
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, Protocol
from urllib.parse import urlsplit

import aiohttp

from sidecar.adapters.policy.files import DATA_NAMES, FILES_LIMIT, FOLDER_DEPTH_LIMIT, TOTAL_BYTES_LIMIT
from sidecar.adapters.policy.server_connection import Token, bearer
from sidecar.adapters.trust import verifying
from sidecar.errors import Misconfigured, Reason, Unavailable

ARCHIVE_LIMIT: Final = TOTAL_BYTES_LIMIT + FILES_LIMIT * 4096  # bytes; what the shim reads of an archive unpacked
_OWN_NAMES: Final = frozenset({".manifest", ".signatures.json"})
_READ_ATTEMPTS: Final = 5
_CHUNK: Final = 1 << 16


class Offer(NamedTuple):
    """What a source has: an archive, and a tag that another archive does not have."""

    archive: bytes
    tag: str


class Source(Protocol):
    """``origin`` says where it is, without anything secret.

    ``fetch`` answers None while the source still has what ``seen`` is the tag of. It raises ``Unavailable`` where the
    source cannot be reached now, ``Misconfigured`` where what it has cannot be a bundle.
    """

    @property
    def origin(self) -> str:
        """Where it is."""

    async def fetch(self, seen: str | None) -> Offer | None:
        """What it has now."""


class FileSource:
    """One file, made by ``opa build``; replaced by renaming another onto it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = str(path)

    async def fetch(self, seen: str | None) -> Offer | None:
        """The file, where its size, time or inode changed."""
        return await asyncio.to_thread(self._fetch, seen)

    def _fetch(self, seen: str | None) -> Offer | None:
        try:
            # without waiting, because the other end of a pipe could keep this thread for ever
            with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    _refuse(f"{self._path} is not a regular file")
                tag = repr((status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns))
                if tag == seen:
                    return None
                archive = file.read(ARCHIVE_LIMIT + 1)
        except OSError as error:
            raise Unavailable(
                "policy_unavailable", f"The bundle {self._path} cannot be read: {error.strerror}."
            ) from None
        _bound(archive)
        return Offer(archive, tag)


class FolderSource:
    """A folder with an unpacked bundle: its ``.manifest``, its ``.signatures.json``, rules and data.

    What an OPA bundle does not read is left out. Symbolic links are followed, as a mounted ConfigMap needs; folders
    whose names begin with a dot are skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = str(path)

    async def fetch(self, seen: str | None) -> Offer | None:
        """The folder as a tar archive, where a file of it changed."""
        return await asyncio.to_thread(self._fetch, seen)

    def _fetch(self, seen: str | None) -> Offer | None:
        try:
            for _ in range(_READ_ATTEMPTS):
                before = self._print()
                if before == seen:
                    return None
                archive = self._archive()
                if self._print() == before:
                    return Offer(archive, before)
        except OSError as error:
            raise Unavailable(
                "policy_unavailable", f"The bundle {self._path} cannot be read: {error.strerror}."
            ) from None
        raise Unavailable("policy_unavailable", f"The bundle {self._path} keeps changing while it is read.")

    def _print(self) -> str:
        digest = hashlib.sha256()
        for path, name in self._walk():
            status = path.stat()
            digest.update(repr((name, status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()

    def _archive(self) -> bytes:
        out, total = io.BytesIO(), 0
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, name in self._walk():
                content = path.read_bytes()
                total += len(content)
                if total > TOTAL_BYTES_LIMIT:
                    _refuse(f"it is larger than {TOTAL_BYTES_LIMIT >> 20} MiB")
                head = tarfile.TarInfo(name)
                head.size = len(content)
                tar.addfile(head, io.BytesIO(content))
        return out.getvalue()

    def _walk(self) -> Iterator[tuple[Path, str]]:
        for folder, folders, names in os.walk(self._path, followlinks=True, onerror=_raise):
            relative = Path(folder).relative_to(self._path)
            if len(relative.parts) >= FOLDER_DEPTH_LIMIT:  # a link that leads back up
                folders.clear()
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                at_root = not relative.parts and name in _OWN_NAMES
                if at_root or name in DATA_NAMES or (name.endswith(".rego") and name[0] != "."):
                    yield Path(folder, name), (relative / name).as_posix()


class HttpSource:
    """An HTTP server, asked with the ETag of what it gave last. ``seconds`` bounds one exchange.

    ``ca_file`` holds the authorities to trust instead of the system's. ``token`` is resolved for each exchange, so
    that a rotated one holds from the next on; it goes nowhere but over TLS.
    """

    def __init__(self, url: str, seconds: float, ca_file: Path | None = None, token: Token | None = None) -> None:
        parts = urlsplit(url)
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._ca_file = ca_file
        self._token = token
        self._context: ssl.SSLContext | None = None
        self._secure = parts.scheme == "https"
        self.origin = f"{parts.scheme}://{parts.netloc}{parts.path}"  # a query may hold a signature

    async def fetch(self, seen: str | None) -> Offer | None:
        """The server's bundle, where its ETag changed; a server without ETags is told apart by content."""
        headers = {"Accept": "application/gzip, application/octet-stream", "Accept-Encoding": "identity"}
        if seen is not None and seen.startswith("etag:"):
            headers["If-None-Match"] = seen.removeprefix("etag:")
        if self._token is not None and self._secure:
            authorization = bearer(await self._token())
            if authorization is None:
                raise Unavailable(
                    "policy_unavailable",
                    f"The token for {self.origin} cannot stand in a header (policy.bundle.token).",
                )
            headers["Authorization"] = authorization
        try:
            connector = aiohttp.TCPConnector(ssl=await self._tls() if self._secure else True)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=False) as session,
                session.get(self._url, headers=headers, allow_redirects=False) as response,
            ):
                if response.status == 304 and "If-None-Match" in headers:
                    return None
                if response.status != 200:
                    raise Unavailable("policy_unavailable", f"{self.origin} answers with status {response.status}.")
                archive = bytearray()
                async for piece in response.content.iter_chunked(_CHUNK):
                    archive += piece
                    _bound(archive)
                etag = response.headers.get("ETag")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                "policy_unavailable", f"{self.origin} cannot be reached ({type(error).__name__})."
            ) from None
        content = bytes(archive)
        sendable = etag is not None and etag.isascii() and etag.isprintable() and etag != ""
        tag = f"etag:{etag}" if sendable else f"sha256:{hashlib.sha256(content).hexdigest()}"
        return None if tag == seen else Offer(content, tag)

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # reading the authorities takes tens of milliseconds
            self._context = await asyncio.to_thread(verifying, self._ca_file)
        return self._context


def _bound(archive: bytes | bytearray) -> None:
    if len(archive) > ARCHIVE_LIMIT:
        _refuse(f"it is larger than {ARCHIVE_LIMIT >> 20} MiB")


def _refuse(message: str) -> NoReturn:
    raise Misconfigured(f"the bundle is refused: {message}", [Reason("archive_refused", message)])


def _raise(error: OSError) -> NoReturn:
    raise error
