"""``encrypted://id``: the sealed store, a directory of one file a credential.

Reading (every call) asks the file system with one ``lstat`` whether the file is still the one that was read, so that
a rotation or a deletion holds from the next call on (A103); only a file that changed is read again, in a thread. What
is kept between calls is the file's ciphertext and its key, never the value: the value is opened at each use, which
costs little more than a copy once its key is derived.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.adapters.credentials.remote.store import FAILURES
from sidecar.adapters.credentials.sealed.file import UnknownKeyError
from sidecar.adapters.credentials.sealed.folder import SealedFolder
from sidecar.errors import Misconfigured, Reason, Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import earlier
from sidecar.rules.credential_types import ends
from sidecar.rules.references import check_identifier
from sidecar.rules.sealing import Opener, SealBrokenError

# Two files written within one tick of the file system's clock can look the same: younger ones are not kept.
_TICK_NS: Final = 50_000_000

_Stamp = tuple[int, int, int, int]

# The most particular first.
_REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (
    (FileNotFoundError, Reason("no_such_secret", FAILURES["no_such_secret"])),
    (SealBrokenError, Reason("seal_broken", "The sealed credential was changed or damaged: store it again.")),
    (
        UnknownKeyError,
        Reason(
            "unknown_master_key",
            "The credential is sealed under a master key that the key file does not hold: restore that key, or store "
            "the credential again.",
        ),
    ),
    (
        Exception,
        Reason("store_unreadable", "The sealed store cannot be read: `sidecar credentials list` says what is wrong."),
    ),
)


class _Opened(NamedTuple):
    path: str
    stamp: _Stamp
    settled: bool
    opener: Opener
    version: str
    kind: str
    ends: int | None  # microseconds since the epoch, of what was said, or of a value whose form says so


class SealedStore(SealedFolder):
    """A ``CredentialSource`` for ``encrypted://``. Raises ``Misconfigured`` as its folder does."""

    def __init__(self, directory: Path, key_file: Path) -> None:
        super().__init__(directory, key_file)
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
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            raise Unavailable(
                "credential_unavailable", "the credential could not be resolved; nothing was sent", [reason]
            ) from error

    async def _reopened(self, reference: Reference) -> _Opened:
        if reference.scheme != "encrypted":
            raise Misconfigured("the sealed store resolves encrypted:// only")
        opened = await asyncio.to_thread(self._read, reference.locator)
        self._opened[reference.locator] = opened
        return opened

    def _read(self, name: str) -> _Opened:
        """Read one file."""
        check_identifier(name)
        file, found, opened = self._open(name)
        settled = time.time_ns() - found.st_ctime_ns > _TICK_NS
        ending = earlier(file.terms().expires, ends(file.kind, opened.plain()))
        return _Opened(str(self._path(name)), _stamp(found), settled, opened, str(file.version), file.kind, ending)


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size
