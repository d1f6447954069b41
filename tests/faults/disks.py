"""Small disks of their own for the evidence: they fill up, break and lose power without harm to anything else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

COMMAND_SECONDS: Final = 30
LAST_ROOM: Final = 1 << 16  # bytes; some sixty records


def run(*command: str | Path) -> None:
    subprocess.run([str(each) for each in command], check=True, capture_output=True, timeout=COMMAND_SECONDS)


@contextmanager
def in_memory(mount: Path, megabytes: int) -> Iterator[None]:
    """A file system in memory, on ``mount``."""
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", mount)
    try:
        yield
    finally:
        run("umount", "-l", mount)


@contextmanager
def journalled(mount: Path, image: Path) -> Iterator[None]:
    """An ext4 of 32 megabytes in the file ``image``, on ``mount``."""
    with image.open("wb") as file:
        file.truncate(32 << 20)
    run("mkfs.ext4", "-q", "-m", "0", image)
    run("mount", "-o", "loop", image, mount)
    try:
        yield
    finally:
        run("umount", "-l", mount)


def fill(folder: Path, leave: int = LAST_ROOM) -> Path:
    """Take all the room but ``leave`` bytes, and no more afterwards.

    A process that is running takes the rest itself. A filler that went on until nothing is left would race it for
    the room that it then sets free for its outcomes.
    """
    filler = folder / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(folder)
        size = free.f_bavail * free.f_frsize - leave
        while size > 0:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                break
            except OSError:
                size -= free.f_frsize  # the file system keeps a little for itself
    return filler
