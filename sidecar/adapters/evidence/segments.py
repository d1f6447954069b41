"""Segment files: ``<20-digit index of the first record>.seg``, and how records are found in them.

Each begins with a head frame: JSON with the Merkle frontier before its first record, the intents still open then,
the time of the last record and the size of the segment before it. So a start reads the last segment only, and what it
believes of the others is checked against the signed checkpoint's root. ``Marks`` holds the offset of every 1,024th
record: the only index there is.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sidecar.adapters.evidence import frames
from sidecar.adapters.evidence.disk import sync, sync_directory, write_all
from sidecar.adapters.evidence.frames import KIND_ATTACHMENT, KIND_HEAD, FrameBrokenError
from sidecar.rules.tree import Frontier

SEGMENT_RECORDS: Final = 1 << 16  # bounds what a start has to read: a third of a second
MARK_EVERY: Final = 1 << 10
_NAME: Final = re.compile(r"([0-9]{20})\.seg")


class Segment(NamedTuple):
    """A segment file and the index its first record has."""

    first: int
    path: Path


class Previous(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The segment before: its first index, and its size in bytes when it was left."""

    first: int
    bytes: int


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first frame of a segment: the state of the log before the segment's first record."""

    v: int
    origin: str
    first: int
    tree: tuple[str, ...]  # the frontier's hashes, hex
    open: tuple[int, ...]  # intents without an outcome yet
    time: int
    previous: Previous | None

    def frontier(self) -> Frontier:
        """The tree before the first record. Raises ``ValueError`` when it cannot be one."""
        return Frontier(self.first, [bytes.fromhex(each) for each in self.tree])


class Record(msgspec.Struct, frozen=True):
    """One record where it lies: its leaf's stored bytes, its sealed attachment, and its place in the file."""

    index: int
    kind: int
    leaf: bytes
    sealed: bytes | None
    offset: int
    end: int


class Marks:
    """The offset of every 1,024th record of one segment, and how far the segment is known."""

    __slots__ = ("end", "first", "next", "offsets")

    def __init__(self, first: int, end: int = 0) -> None:
        self.first = first
        self.next = first
        self.end = end
        self.offsets = array("Q")

    def note(self, index: int, offset: int, end: int) -> None:
        """Record ``index`` lies from ``offset`` to ``end``; call it in order."""
        if (index - self.first) % MARK_EVERY == 0:
            self.offsets.append(offset)
        self.end = end
        self.next = index + 1

    def block(self, index: int) -> tuple[int, int, int]:
        """Where to read for ``index``: first index and offset of its block, and the offset the block ends at."""
        number = (index - self.first) // MARK_EVERY
        end = self.offsets[number + 1] if number + 1 < len(self.offsets) else self.end
        return self.first + number * MARK_EVERY, self.offsets[number], end

    def extend(self, descriptor: int) -> None:
        """Learn the records that were added since. Contents are checked when they are read."""
        start: int | None = None
        for offset, kind, index, end in frames.headers(descriptor, self.end, os.fstat(descriptor).st_size):
            if kind == KIND_HEAD:
                self.end = end
                continue
            if index != self.next:
                return
            if kind == KIND_ATTACHMENT:
                start = offset
                continue
            self.note(index, offset if start is None else start, end)
            start = None


def segments(directory: Path) -> list[Segment]:
    """The segments of a log, oldest first."""
    found = []
    for path in directory.iterdir():
        if match := _NAME.fullmatch(path.name):
            found.append(Segment(int(match[1]), path))
    return sorted(found)


def create(directory: Path, head: Head) -> tuple[int, int]:
    """A new segment with its head, durable under its name; gives its descriptor and length."""
    path = directory / f"{head.first:020d}.seg"
    fresh = path.with_name(path.name + ".tmp")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = frames.encode(KIND_HEAD, head.first, msgspec.json.encode(head))
        write_all(descriptor, data, 0)
        sync(descriptor)
        fresh.replace(path)
        sync_directory(directory)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, len(data)


def read_head(descriptor: int, first: int) -> tuple[Head, int]:
    """A segment's head and the offset of its first record. Raises ``FrameBrokenError``."""
    frame = next(frames.frames(descriptor, 0, os.fstat(descriptor).st_size), None)
    if frame is None or frame.kind != KIND_HEAD:
        raise FrameBrokenError(0, "the segment does not begin with its head")
    try:
        head = msgspec.json.decode(frame.payload, type=Head)
        head.frontier()
    except (msgspec.DecodeError, ValueError):
        raise FrameBrokenError(0, "the segment's head is not readable") from None
    if not frame.index == head.first == first:
        raise FrameBrokenError(0, "the segment's head belongs to another segment")
    return head, frame.end


def records(descriptor: int, offset: int, end: int, first: int) -> Iterator[Record]:
    """Every record from ``offset``, which is that of record ``first``, to ``end``.

    Raises ``FrameBrokenError`` with the offset where the first record that is not whole begins.
    """
    sealed: bytes | None = None
    start, expected = offset, first
    try:
        for frame in frames.frames(descriptor, offset, end):
            if frame.index != expected:
                raise FrameBrokenError(start, f"record {frame.index} stands where {expected} belongs")
            if frame.kind == KIND_ATTACHMENT and sealed is None:
                sealed = frame.payload
            elif frames.is_leaf(frame.kind):
                yield Record(expected, frame.kind, frame.payload, sealed, start, frame.end)
                sealed, start, expected = None, frame.end, expected + 1
            else:
                raise FrameBrokenError(start, "a frame stands where it does not belong")
    except FrameBrokenError as error:
        raise FrameBrokenError(start, error.detail) from None
    if sealed is not None:
        raise FrameBrokenError(start, "an attachment has no leaf")
