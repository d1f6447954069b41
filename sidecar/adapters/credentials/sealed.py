"""``encrypted://id``: the sealed store, a directory of one file a credential.

Writing (the command line) takes the directory's lock, and replaces whole files durably. Reading (every call) asks the
file system with one ``lstat`` whether the file is still the one that was read, so that a rotation or a deletion holds
from the next call on (A103); only a file that changed is read again, in a thread. What is kept between calls is the
file's ciphertext and its key, never the value: the value is opened at each use, which costs little more than a copy
once its key is derived.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.adapters.credentials import master_key
from sidecar.adapters.credentials.master_key import MasterKey
from sidecar.adapters.credentials.private_files import (
    check_private_directory,
    discard_unfinished,
    flush_directory,
    locked,
    make_private_directory,
    read_private,
    write_private,
)
from sidecar.adapters.credentials.sealed_file import (
    FILE_LIMIT,
    About,
    Kind,
    SealedFile,
    UnknownKeyError,
    decode,
    encode,
    opener,
    rewrap,
    seal,
)
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import check_value
from sidecar.rules.credential_types import ends
from sidecar.rules.references import check_identifier
from sidecar.rules.sealing import Opener, SealBrokenError

_SUFFIX: Final = ".sealed"
_LOCK: Final = ".lock"
# Two files written within one tick of the file system's clock can look the same: younger ones are not kept.
_TICK_NS: Final = 50_000_000

_Stamp = tuple[int, int, int, int]


class Entry(NamedTuple):
    """One line of the store's list; ``about`` is None where the credential does not open."""

    id: str
    about: About | None


class _Opened(NamedTuple):
    path: str
    stamp: _Stamp
    settled: bool
    opener: Opener
    version: str
    kind: str
    ends: int | None  # microseconds since the epoch, of a value whose form says so


class SealedStore:
    """A ``CredentialSource`` for ``encrypted://``, and the commands that change it.

    Raises ``Misconfigured`` for a master key or a directory that is missing (the directory: only once it is needed),
    open to others or wrong; no message shows a key or a value.
    """

    def __init__(self, directory: Path, key_file: Path) -> None:
        self._directory = directory
        self._key_file = key_file
        self._keys = master_key.load(key_file)
        if directory.exists():
            check_private_directory(directory)
        self._opened: dict[str, _Opened] = {}

    async def resolve(self, reference: Reference) -> Credential:
        """The value and its version. Raises ``Unavailable("credential_unavailable")``, its cause attached."""
        name = reference.locator
        try:
            opened = self._opened.get(name) if reference.scheme == "encrypted" else None
            if opened is None or not opened.settled or opened.stamp != _stamp(os.lstat(opened.path)):
                opened = await self._reopened(reference)
            return Credential(Secret(opened.opener.plain()), opened.version, opened.kind, opened.ends)
        except (OSError, SealBrokenError, UnknownKeyError, Misconfigured) as error:
            self._opened.pop(name, None)
            raise Unavailable(
                "credential_unavailable", "the credential could not be resolved; nothing was sent"
            ) from error

    async def _reopened(self, reference: Reference) -> _Opened:
        if reference.scheme != "encrypted":
            raise Misconfigured("the sealed store resolves encrypted:// only")
        opened = await asyncio.to_thread(self._read, reference.locator)
        self._opened[reference.locator] = opened
        return opened

    def put(self, name: str, secret: Secret, kind: Kind = "API_KEY") -> int:
        """Store a value, and give its version: 1, or one more than the value it replaces."""
        check_identifier(name)
        check_value(secret, kind)
        make_private_directory(self._directory)
        with self._changing():
            before = self._existing(name) if os.path.lexists(self._path(name)) else None
            return self._write(name, secret, kind, before)

    def rotate(self, name: str, secret: Secret) -> int:
        """Replace the value of a credential that is there, and give its new version."""
        with self._changing():
            before = self._existing(name)
            check_value(secret, before.kind)
            return self._write(name, secret, before.kind, before)

    def list(self) -> Sequence[Entry]:
        """Every credential by name, never its value."""
        return [self._entry(path.name.removesuffix(_SUFFIX)) for path in sealed_files(self._directory)]

    def delete(self, name: str) -> None:
        """Remove a credential; from the next call on it does not resolve."""
        with self._changing():
            check_identifier(name)
            try:
                self._path(name).unlink()
            except FileNotFoundError:
                raise _missing(name) from None
            flush_directory(self._directory)

    def rotate_master(self) -> tuple[str, int]:
        """Wrap every credential under a fresh master key; its id, and how many were wrapped anew.

        At each moment the key file holds the key of every sealed file: first both keys, then each file anew, then
        the new key alone. A rotation that was cut off is finished by the next one.
        """
        make_private_directory(self._directory)
        with self._changing():
            if len(self._keys) == 1:
                self._keep((master_key.generate(), *self._keys))
            wrapped = 0
            for path in sealed_files(self._directory):
                file = self._existing(path.name.removesuffix(_SUFFIX))
                if file.master_key != self._keys[0].id:
                    write_private(path, encode(rewrap(file, self._keys, self._keys[0])))
                    wrapped += 1
            self._keep(self._keys[:1])
            return self._keys[0].id, wrapped

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone with the directory, and with the key file as it is now. What a crash left half written goes."""
        if not self._directory.is_dir():
            raise Misconfigured(f"there is no credential store at {self._directory}")
        with locked(self._directory / _LOCK):
            self._keys = master_key.load(self._key_file)
            discard_unfinished(self._directory)
            discard_unfinished(self._key_file.resolve().parent, self._key_file.resolve().name)
            yield

    def _keep(self, keys: tuple[MasterKey, ...]) -> None:
        master_key.store(self._key_file, keys)
        self._keys = keys

    def _write(self, name: str, secret: Secret, kind: Kind, before: SealedFile | None) -> int:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = About(
            id=name,
            kind=kind,
            version=before.version + 1 if before else 1,
            created=before.created if before else now,
            updated=now,
        )
        write_private(self._path(name), encode(seal(about, secret, self._keys[0])))
        return about.version

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _entry(self, name: str) -> Entry:
        try:
            file = decode(read_private(self._path(name), FILE_LIMIT)[0], name)
            opener(file, self._keys).plain()
        except (SealBrokenError, UnknownKeyError, Misconfigured, FileNotFoundError):
            return Entry(name, None)
        return Entry(
            name,
            About(id=name, kind=file.kind, version=file.version, created=file.created, updated=file.updated),
        )

    def _existing(self, name: str) -> SealedFile:
        """The file of a credential that must be there and whole."""
        check_identifier(name)
        try:
            file = decode(read_private(self._path(name), FILE_LIMIT)[0], name)
            opener(file, self._keys).plain()
        except FileNotFoundError:
            raise _missing(name) from None
        except (SealBrokenError, UnknownKeyError) as error:
            raise Misconfigured(f"the credential {name} does not open: {error}. Delete it and put it again") from None
        return file

    def _read(self, name: str) -> _Opened:
        """Read one file, and the key file again where it names a key that is not known yet."""
        check_identifier(name)
        path = self._path(name)
        data, found = read_private(path, FILE_LIMIT)
        file = decode(data, name)
        try:
            opened = opener(file, self._keys)
        except UnknownKeyError:
            self._keys = master_key.load(self._key_file)
            opened = opener(file, self._keys)
        settled = time.time_ns() - found.st_ctime_ns > _TICK_NS
        ending = ends(file.kind, opened.plain())
        return _Opened(str(path), _stamp(found), settled, opened, str(file.version), file.kind, ending)


def sealed_files(directory: Path) -> Sequence[Path]:
    """The sealed files of a store, by name."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size


def _missing(name: str) -> Misconfigured:
    return Misconfigured(f"there is no credential {name} in the store")
