"""Files that only their owner may read: read with a check of what was opened, written so that a crash leaves no half.

A check of a path and a later opening of it can be of two different files, so the file is opened first and the open
file is checked. Writing is the usual sequence of ``rename(2)``: a temporary file beside the target, flushed to disk,
renamed onto it, and then the directory flushed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.errors import Misconfigured

FILE_MODES: Final = (0o600, 0o400)
_LOCK_SECONDS: Final = 5.0
_LOCK_POLL_SECONDS: Final = 0.02


class Busy(Misconfigured):
    """Nothing is wrong: somebody else is changing what is locked, and takes longer than may be waited for."""


def read_private(path: Path, limit: int, *, follow: bool = False) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file of ours with mode 0600 or 0400, and what the file is.

    A symbolic link is followed only where asked to; what it leads to is checked the same. Raises ``Misconfigured``
    for any other file and for more than ``limit`` bytes, and ``FileNotFoundError`` where there is none.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Misconfigured(f"{path} cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(handle)
        _check_file(path, found)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise Misconfigured(f"{path} is longer than {limit} bytes")
    return data, found


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Misconfigured(f"{path} is not a regular file")
    if found.st_uid != os.geteuid():
        raise Misconfigured(f"{path} belongs to user {found.st_uid}; it must belong to user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) not in FILE_MODES:
        raise Misconfigured(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}; it must be 0600 or 0400: chmod 600 it, and replace "
            "what it holds if others could read it"
        )


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file of mode 0600, whole or not at all, and durably.

    Raises ``FileExistsError`` where it is there and must not be replaced, and ``Misconfigured`` where the disk
    refuses.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(beside, data)
        if replace:
            beside.rename(path)
        else:
            os.link(beside, path)
        flush_directory(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)  # whatever the umask took away
        file.write(data)
        file.flush()
        os.fsync(handle)


def discard_unfinished(directory: Path, name: str = "*") -> None:
    """Remove what a writer of ``name`` that was killed left beside it. Hold the lock that writers hold."""
    for beside in directory.glob(f".{name}.{'[0-9a-f]' * 16}.tmp"):
        beside.unlink(missing_ok=True)


def flush_directory(directory: Path) -> None:
    """Make what was renamed or removed in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_directory(directory: Path) -> None:
    """Make the directory with mode 0700 where there is none, and check it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{directory} cannot be made: {error.strerror}") from error
    check_private_directory(directory)


def check_private_directory(directory: Path) -> None:
    """Raises ``Misconfigured`` unless the directory is ours and nobody else may look into it."""
    try:
        found = directory.stat()
    except OSError as error:
        raise Misconfigured(f"{directory} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise Misconfigured(f"{directory} is not a directory")
    if found.st_uid != os.geteuid():
        raise Misconfigured(f"{directory} belongs to user {found.st_uid}; it must belong to user {os.geteuid()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Misconfigured(f"{directory} has mode {stat.S_IMODE(found.st_mode):04o}; it must be 0700")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` against every other process and thread. Raises ``Busy`` after 5 s, and
    ``Misconfigured`` where there can be no such file.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"another command is changing {path.parent}; try again") from None
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return
