"""What a start may believe, and the one repair it may make.

Records after the last checkpoint may end in a torn write: it is cut off only if no whole frame follows it. Anything
else that does not add up (a checkpoint that covers more than there is, a root that differs, a bad frame with good
ones behind it, a segment of another size than its successor recorded) refuses to start: cutting at the first bad
frame would drop acknowledged records, and nobody would know.

What is read: the head of every segment, and all records from the segment on that the checkpoint ends in. What is
trusted: a head's frontier, until the records behind it lead to the signed root, which commits to every earlier leaf.
The bytes of older segments are not read again; ``verify`` reads them all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from sidecar.adapters.evidence import frames
from sidecar.adapters.evidence.disk import sync, write_all
from sidecar.adapters.evidence.frames import KIND_CHUNK, KIND_INTENT, FrameBrokenError
from sidecar.adapters.evidence.segments import Head, Marks, Previous, Record, Segment, read_head, records, segments
from sidecar.errors import Misconfigured
from sidecar.rules.notes import Checkpoint
from sidecar.rules.tree import Frontier, leaf_hash

_ADVICE: Final = (
    "Nothing was changed. Look at it with `sidecar evidence verify`, keep the directory, and either restore it from a"
    " copy or start with an empty directory (a new origin)."
)
TAIL_LIMIT: Final = 128 << 20  # more than one commit can leave behind


class _Link(msgspec.Struct):
    """The two fields of a leaf that a start needs."""

    time: int
    intent: int | None = None


_link: Final = msgspec.json.Decoder(_Link)


class State(NamedTuple):
    """The log as it is on disk. ``open`` are the intents without an outcome, in order."""

    descriptor: int  # of the last segment; -1 when there is none yet
    length: int
    segment_first: int
    previous: Previous | None
    frontier: Frontier
    open: dict[int, None]
    time: int
    marks: dict[int, Marks]
    repaired: int  # bytes cut off


def recover(directory: Path, origin: str, checkpoint: Checkpoint) -> State:
    """Check the log from the checkpoint on, repair its tail, make it durable. Raises ``Misconfigured``."""
    found = segments(directory)
    if not found:
        if checkpoint.size:
            raise _rollback(directory, checkpoint, 0)
        return State(-1, 0, 0, None, Frontier(), {}, 0, {}, 0)
    _check_chain(found, origin)
    start = max((n for n, each in enumerate(found) if each.first <= checkpoint.size), default=0)
    walk = _Walk(checkpoint)
    for segment in found[start:-1]:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if walk.read(segment, descriptor) is not None:
                raise _broken(segment, walk.torn_offset, walk.torn_detail)
        finally:
            os.close(descriptor)
    last = found[-1]
    descriptor = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        repaired = _settle_tail(walk, last, descriptor)
        if walk.frontier.size < checkpoint.size:
            raise _rollback(directory, checkpoint, walk.frontier.size)
        _write_again(descriptor, walk)
    except BaseException:
        os.close(descriptor)
        raise
    marks = walk.marks
    return State(
        descriptor, marks.end, last.first, walk.head.previous, walk.frontier, walk.open, walk.time,
        {last.first: marks}, repaired,
    )  # fmt: skip


class _Walk:
    """Reads segments in order and keeps what they add up to."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._begun = False
        self.frontier = Frontier()
        self.open: dict[int, None] = {}
        self.time = 0
        self.unsigned = 0  # where in the current segment the records past the checkpoint begin
        self.torn_offset, self.torn_detail = 0, ""

    def read(self, segment: Segment, descriptor: int) -> int | None:
        """Take the segment in; None, or the offset of what is no record."""
        try:
            self.head, offset = read_head(descriptor, segment.first)
        except FrameBrokenError as error:
            raise _broken(segment, error.offset, error.detail) from None
        self._begin(segment, self.head)
        self.marks = Marks(segment.first, offset)
        self.unsigned = offset
        last: Record | None = None
        torn: int | None = None
        try:
            for record in records(descriptor, offset, os.fstat(descriptor).st_size, segment.first):
                self._take(segment, record)
                last = record
        except FrameBrokenError as error:
            self.torn_offset, self.torn_detail = error.offset, error.detail
            torn = error.offset
        if last is not None:
            self._note_time(segment, last)
        return torn

    def _begin(self, segment: Segment, head: Head) -> None:
        frontier = head.frontier()
        if self._begun and (frontier.hashes != self.frontier.hashes or head.open != tuple(self.open)):
            raise _broken(segment, 0, "the head does not continue the segment before")
        self._begun = True
        self.frontier, self.open, self.time = frontier, dict.fromkeys(head.open), head.time
        self._check_root(segment, 0)

    def _take(self, segment: Segment, record: Record) -> None:
        self.frontier.append(leaf_hash(record.leaf))
        self.marks.note(record.index, record.offset, record.end)
        if record.kind == KIND_INTENT:
            self.open[record.index] = None
        elif record.kind != KIND_CHUNK:
            try:
                link = _link.decode(record.leaf)
            except msgspec.DecodeError:
                raise _unreadable(segment, record) from None
            if link.intent is not None:
                self.open.pop(link.intent, None)
        if record.index + 1 == self._checkpoint.size:
            self.unsigned = record.end
            self._check_root(segment, record.offset)

    def _note_time(self, segment: Segment, record: Record) -> None:
        """Times never go back in a log, so that of the last record is the latest."""
        try:
            self.time = _link.decode(record.leaf).time
        except msgspec.DecodeError:
            raise _unreadable(segment, record) from None

    def _check_root(self, segment: Segment, offset: int) -> None:
        if self.frontier.size == self._checkpoint.size and self.frontier.root() != self._checkpoint.root:
            raise _broken(
                segment, offset, f"the first {self._checkpoint.size} records differ from the signed checkpoint"
            )


def _check_chain(found: list[Segment], origin: str) -> None:
    """Every segment is there, in the size that its successor saw, and belongs to this log."""
    before: Segment | None = None
    for segment in found:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head, _ = read_head(descriptor, segment.first)
        except FrameBrokenError as error:
            raise _broken(segment, error.offset, error.detail) from None
        finally:
            os.close(descriptor)
        expected = None if before is None else Previous(before.first, before.path.stat().st_size)
        if head.previous != expected:
            raise _broken(segment, 0, "the segment before it is missing, or has another size than it had")
        if head.origin != origin:
            raise _broken(segment, 0, f"the segment belongs to the log {head.origin}")
        before = segment


def _settle_tail(walk: _Walk, segment: Segment, descriptor: int) -> int:
    """Cut a torn tail off, if it can be nothing else; how many bytes went."""
    offset = walk.read(segment, descriptor)
    if offset is None:
        return 0
    torn = os.fstat(descriptor).st_size - offset
    if torn > TAIL_LIMIT:
        raise _broken(segment, offset, f"{walk.torn_detail}; {torn} bytes are more than one write")
    size = walk.frontier.size
    if size < walk._checkpoint.size:
        raise _broken(segment, offset, f"{walk.torn_detail}, but the signed checkpoint covers record {size}")
    tail = os.pread(descriptor, torn, offset)
    follower = frames.find_frame(tail, size)
    if follower is not None:
        raise _broken(segment, offset, f"{walk.torn_detail}, and a whole frame follows at byte {offset + follower}")
    os.ftruncate(descriptor, offset)
    sync(descriptor)
    return torn


def _write_again(descriptor: int, walk: _Walk) -> None:
    """Make the records past the checkpoint durable.

    They were read from the page cache. After a failed sync the kernel holds pages as clean that never reached the
    disk, so syncing alone would write nothing: the same bytes are written once more first.
    """
    offset, end = walk.unsigned, walk.marks.end
    while offset < end:
        data = os.pread(descriptor, min(1 << 20, end - offset), offset)
        write_all(descriptor, data, offset)
        offset += len(data)
    sync(descriptor)


def _broken(segment: Segment, offset: int, detail: str) -> Misconfigured:
    return Misconfigured(f"{segment.path}, byte {offset}: {detail}. {_ADVICE}")


def _unreadable(segment: Segment, record: Record) -> Misconfigured:
    return _broken(segment, record.offset, f"record {record.index} is not a leaf")


def _rollback(directory: Path, checkpoint: Checkpoint, size: int) -> Misconfigured:
    return Misconfigured(
        f"{directory}: the signed checkpoint covers {checkpoint.size} records and only {size} are there: evidence was"
        f" removed or an older copy put back. {_ADVICE}"
    )
