"""System calls on evidence files: what they raise is the disk's own word, an ``OSError``.

``ROOM_ERRORS`` mean that the bytes did not fit; ``READ_ONLY_ERRORS`` that the file system takes none. Either may
pass, and neither has taken anything: writing can go on later. Every other error of a write, and *any* error of a
sync, may have lost pages the kernel already took, so nothing after it can be believed (the kernel reports a failed
sync once and then forgets).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from sidecar.errors import Misconfigured

ROOM_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
READ_ONLY_ERRORS: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class SyncFailedError(Exception):
    """A sync failed: what the file holds is unknown, and nothing may be written to it again."""


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``: a short write is not an error, the next one tells why (E07)."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        if written <= 0:
            raise OSError(errno.EIO, "the disk took no bytes")
        view = view[written:]
        offset += written


def sync(descriptor: int) -> None:
    """Make a file's data durable. Raises ``SyncFailedError``; never call it again on that file then."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        raise SyncFailedError(os.strerror(error.errno or errno.EIO)) from error


def sync_directory(directory: Path) -> None:
    """Make names in ``directory`` durable. Raises ``SyncFailedError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailedError(os.strerror(error.errno or errno.EIO)) from error
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Give ``path`` (mode 0600) new contents at once or not at all, durably."""
    fresh = path.with_name(path.name + ".tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data, 0)
        sync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_directory(path.parent)


def lock(directory: Path) -> int:
    """Take the directory's exclusive lock; it ends with the returned descriptor or the process.

    Raises ``Misconfigured`` when another writer has it (E10).
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Misconfigured(
            f"{directory}: another process writes this evidence log. Stop it, or give this sidecar its own directory."
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Reserve:
    """A file of ``size`` bytes that is given up on a full disk, so that outcomes already owed still fit (E05)."""

    def __init__(self, directory: Path, size: int) -> None:
        self._path = directory / "reserve"
        self._size = size

    def held(self) -> bool:
        """Whether the file is there in its full size."""
        try:
            return self._path.stat().st_blocks * 512 >= self._size
        except OSError:
            return False

    def take(self) -> None:
        """Allocate it, if there is room for as much again beside it. Raises ``OSError`` if there is not.

        The second half keeps a disk that is nearly full from opening and closing the log every second.
        """
        if self.held():
            return
        fresh = self._path.with_name("reserve.tmp")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, 2 * self._size)
            os.ftruncate(descriptor, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        finally:
            os.close(descriptor)
        fresh.replace(self._path)

    def release(self) -> None:
        """Give the room back. Nothing to do when it was given up before."""
        with contextlib.suppress(OSError):
            self._path.unlink()
