"""The history of a policy's activations, and the bundles that it can go back to: a folder of mode 0700.

``history.jsonl`` has one line an attempt, appended and flushed to the disk before a policy decides; ``bundles/`` has
the archives of the last activations, by the SHA-256 of their content. A line that a crash cut off is the last one and
was never acknowledged, so it is taken away; any other line that cannot be read is a reason not to start, because an
edited history could bring an old policy back. The file is locked: two processes cannot write one history.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from pathlib import Path
from typing import Final

import msgspec

from sidecar.adapters.policy.succession import standing_of
from sidecar.errors import Misconfigured, Reason, Unavailable
from sidecar.model.activation import ACTIVATED, Activation

KEPT: Final = 5  # bundles; the active one is among them
_FILE: Final = "history.jsonl"
_FOLDER: Final = "bundles"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_decode = msgspec.json.Decoder(Activation, strict=True).decode


class History:
    """Opened by one process. Its methods block on the disk: call them in a thread."""

    def __init__(self, directory: Path, descriptor: int, entries: list[Activation], size: int) -> None:
        self._directory = directory
        self._descriptor = descriptor
        self._size = size  # bytes that are known to be good
        self._sound = True
        self._writing = threading.Lock()  # a closed descriptor's number may become another file's
        self.entries = entries
        self.standing = standing_of(entries)

    @classmethod
    def open(cls, directory: Path) -> History:
        """Read and lock the history of ``directory``, or begin one. Raises ``Misconfigured`` for one that is damaged
        or in use, ``Unavailable`` when the disk refuses.
        """
        path = directory / _FILE
        try:
            for folder in (directory, directory / _FOLDER):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(directory, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            entries, size = _read(path)
            os.ftruncate(descriptor, size)
            _flush(directory)  # a new file's name, or a power cut could take all of a history away
        except BlockingIOError:
            os.close(descriptor)
            raise Misconfigured(f"{path} is in use by another sidecar; give each a policy.state of its own") from None
        except OSError as error:
            os.close(descriptor)
            raise _unwritable(directory, error) from None
        except Misconfigured:
            os.close(descriptor)
            raise
        return cls(directory, descriptor, entries, size)

    def close(self) -> None:
        """Give the lock back, once what is being written is."""
        with self._writing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self._sound = False

    def append(self, entry: Activation, archive: bytes | None = None) -> None:
        """Make ``entry`` durable, and before it the archive that it activates.

        Raises ``Unavailable``; then the entry is not part of the history.
        """
        with self._writing:
            self._append(entry, archive)

    def _append(self, entry: Activation, archive: bytes | None) -> None:
        if not self._sound:
            raise Unavailable(
                "policy_unavailable", f"The history in {self._directory} cannot be written. Restart the sidecar."
            )
        line = msgspec.json.encode(entry) + b"\n"
        try:
            if archive is not None and entry.bundle is not None:
                self._keep(entry.bundle, archive)
            self._write(line)
        except OSError as error:
            self._restore()
            raise _unwritable(self._directory, error) from None
        self._size += len(line)
        self.entries.append(entry)
        self.standing = self.standing.after(entry)
        self._prune()

    def archive(self, bundle: str) -> bytes:
        """A kept bundle by its digest. Raises ``Misconfigured`` where it is not kept."""
        try:
            return self._path(bundle).read_bytes()
        except OSError:
            message = f"the bundle {bundle} is not kept; the last {KEPT} are"
            raise Misconfigured(message, [Reason("not_kept", message)]) from None

    def kept(self) -> list[Activation]:
        """The last activation of each bundle that is kept, newest first."""
        found: dict[str, Activation] = {}
        for entry in reversed(self.entries):
            if entry.outcome == ACTIVATED and entry.bundle is not None and entry.bundle not in found:
                found[entry.bundle] = entry
        return [entry for bundle, entry in found.items() if self._path(bundle).is_file()]

    def _write(self, line: bytes) -> None:
        if os.write(self._descriptor, line) != len(line):
            raise OSError("the disk is full")
        os.fdatasync(self._descriptor)

    def _restore(self) -> None:
        """Take back what of a line may have been written; where that fails, nothing is written any more."""
        try:
            os.ftruncate(self._descriptor, self._size)
            os.fdatasync(self._descriptor)
        except OSError:
            self._sound = False

    def _path(self, bundle: str) -> Path:
        found = _DIGEST.fullmatch(bundle)
        if found is None:
            raise Misconfigured("a bundle's digest is sha256: and 64 hexadecimal digits")
        return self._directory / _FOLDER / f"{found[1]}.tar"

    def _keep(self, bundle: str, archive: bytes) -> None:
        path = self._path(bundle)
        fresh = path.with_name(f"{path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(archive)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _flush(path.parent)

    def _prune(self) -> None:
        kept = {self._path(entry.bundle or "") for entry in self.kept()[:KEPT]}
        with contextlib.suppress(OSError):  # one too many is no harm
            for path in (self._directory / _FOLDER).iterdir():
                if path not in kept:
                    path.unlink()


def read_history(directory: Path) -> list[Activation]:
    """The history without its lock, for the command line. Raises ``Misconfigured`` for one that is damaged."""
    path = directory / _FILE
    try:
        return _read(path)[0]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None


def _flush(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[list[Activation], int]:
    """Every entry, and the length of the whole lines."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    entries: list[Activation] = []
    for number, line in enumerate(content[:size].splitlines(), 1):
        try:
            entry = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(path, number, str(error)) from None
        if entry.number != number:
            raise _damaged(path, number, f"it is numbered {entry.number}")
        entries.append(entry)
    return entries, size


def _damaged(path: Path, line: int, what: str) -> Misconfigured:
    return Misconfigured(
        f"{path}:{line}: the history of the policy is damaged ({what}). Restore it from a backup; or move the folder "
        "away, and the next bundle begins a new history, whatever its sequence.",
        code="history_damaged",
    )


def _unwritable(directory: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "policy_unavailable",
        f"The history of the policy in {directory} cannot be written: {error.strerror or error}.",
    )
