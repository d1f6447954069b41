"""The folder of the sealed store, and every change of it: one file a credential, and the key file that opens them.

Whoever writes (the command line, the administrators' door) takes the folder's lock and replaces whole files durably,
so that a reader and a crash see the old credential or the new one. All of it blocks, for a few seconds at the most.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.file import (
    FILE_LIMIT,
    Head,
    Kind,
    SealedFile,
    UnknownKeyError,
    decode,
    encode,
    opener,
    rewrap,
    seal,
)
from sidecar.adapters.credentials.sealed.master_key import MasterKey
from sidecar.adapters.credentials.sealed.private_files import (
    check_private_directory,
    discard_unfinished,
    flush_directory,
    locked,
    make_private_directory,
    read_private,
    write_private,
)
from sidecar.errors import Misconfigured, Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import check_change, check_version, earlier
from sidecar.rules.credential_types import ends
from sidecar.rules.references import check_identifier
from sidecar.rules.sealing import Opener, SealBrokenError

BROKEN: Final = "broken"  # the version of a credential that does not open
_SUFFIX: Final = ".sealed"
_LOCK: Final = ".lock"
_UNSAID: Final[Kind] = "API_KEY"


class Entry(NamedTuple):
    """A credential of the folder: ``head`` is None where it does not open, ``ends`` what its own value says."""

    id: str
    head: Head | None
    ends: int | None = None

    @property
    def version(self) -> str:
        """What a change is made over."""
        return str(self.head.version) if self.head else BROKEN


class Opened(NamedTuple):
    """A sealed file, what it was on the disk when it was read, and what opens its value."""

    file: SealedFile
    found: os.stat_result
    opener: Opener


class SealedFolder:
    """Raises ``Misconfigured`` for a master key or a folder that is missing (the folder: only once it is needed),
    open to others or wrong; no message shows a key or a value.
    """

    def __init__(self, directory: Path, key_file: Path) -> None:
        self._directory = directory
        self._key_file = key_file
        self._keys = master_key.load(key_file)
        if directory.exists():
            check_private_directory(directory)

    def list(self) -> Sequence[Entry]:
        """Every credential by name, never its value."""
        entries = []
        for path in sealed_files(self._directory):
            with suppress(FileNotFoundError):  # deleted meanwhile
                entries.append(self._entry(path.name.removesuffix(_SUFFIX)))
        return entries

    def entry(self, name: str) -> Entry:
        """One credential. Raises ``Refused("unknown_credential")`` where there is none."""
        check_identifier(name)
        try:
            return self._entry(name)
        except FileNotFoundError:
            raise _missing(name) from None

    def _entry(self, name: str) -> Entry:
        try:
            opened = self._open(name)
            plain = opened.opener.plain()
        except (SealBrokenError, UnknownKeyError, Misconfigured):
            return Entry(name, None)
        return Entry(name, opened.file.head(), earlier(opened.file.terms().expires, ends(opened.file.kind, plain)))

    def _open(self, name: str) -> Opened:
        """Read one file; under a key that is not known, again with the keys of now: all may be wrapped anew since."""
        try:
            return self._opened_with(self._keys, name)
        except UnknownKeyError:
            self._keys = keys = master_key.load(self._key_file)
            return self._opened_with(keys, name)

    def _opened_with(self, keys: Sequence[MasterKey], name: str) -> Opened:
        data, found = read_private(self._path(name), FILE_LIMIT)
        file = decode(data, name)
        return Opened(file, found, opener(file, keys))

    def put(self, name: str, secret: Secret, kind: Kind = _UNSAID) -> int:
        """Store a value over whatever is there; its version. Raises as ``store`` does."""
        entry = self._look(name)
        made = self.store(name, secret, Terms(kind=kind), entry and entry.version)
        assert made.head is not None
        return made.head.version

    def store(self, name: str, secret: Secret, terms: Terms, expected: str | None) -> Entry:
        """Store a value over version ``expected``, or where there is none.

        Raises ``Refused("invalid_payload")``, ``Refused("conflict")`` and ``Refused("unknown_credential")``, and
        then nothing is changed.
        """
        check_identifier(name)
        kept = check_change(Reference("encrypted", name), secret, terms, time.time_ns() // 1000)
        make_private_directory(self._directory)
        with self._changing():
            before = self._look(name)
            check_version(before and before.version, expected)
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            head = Head.of(
                name,
                kept,
                version=before.head.version + 1 if before and before.head else 1,
                created=before.head.created if before and before.head else now,
                updated=now,
            )
            self._write(head, secret)
            return self.entry(name)

    def amend(self, name: str, terms: Terms, expected: str) -> Entry:
        """Give a value other terms. Raises as ``store`` does."""
        self.entry(name)
        with self._changing():
            before = self._look(name)
            check_version(before and before.version, expected)
            if before is None or before.head is None:
                raise Refused("conflict", f"The credential {name} does not open: store it anew, or delete it.")
            file = self._existing(name)
            secret = Secret(opener(file, self._keys).plain())
            kept = check_change(Reference("encrypted", name), secret, terms, time.time_ns() // 1000)
            head = Head.of(name, kept, version=file.version, created=file.created, updated=file.updated)
            self._write(head, secret)
            return self.entry(name)

    def delete(self, name: str, expected: str | None = None) -> None:
        """Remove a credential (None: of whatever version); from the next call on it does not resolve."""
        self.entry(name)
        with self._changing():
            entry = self.entry(name)
            check_version(entry.version, expected or entry.version)
            try:
                self._path(name).unlink()
                flush_directory(self._directory)
            except OSError as error:
                raise Misconfigured(f"{self._path(name)} cannot be deleted: {error.strerror}") from error

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

    def _write(self, head: Head, secret: Secret) -> None:
        write_private(self._path(head.id), encode(seal(head, secret, self._keys[0])))

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _look(self, name: str) -> Entry | None:
        check_identifier(name)
        return self.entry(name) if os.path.lexists(self._path(name)) else None

    def _existing(self, name: str) -> SealedFile:
        """The file of a credential that must be there and whole."""
        try:
            opened = self._open(name)
            opened.opener.plain()
        except FileNotFoundError:
            raise _missing(name) from None
        except (SealBrokenError, UnknownKeyError) as error:
            raise Misconfigured(f"{self._path(name)} does not open: {error}. Delete it, and put it again") from None
        return opened.file


def sealed_files(directory: Path) -> Sequence[Path]:
    """The sealed files of a store, by name."""
    return sorted(directory.glob(f"*{_SUFFIX}"))


def _missing(name: str) -> Refused:
    return Refused("unknown_credential", f"There is no credential {name} in the store.")
