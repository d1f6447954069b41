"""Reading a log, this process's own or another's: no lock, no state but the marks.

Every record that is returned had a sound CRC and the index and origin it was asked for; otherwise
``Unavailable("evidence_unavailable")`` is raised. A reader of another process's log sees what is in the files, which
can be a moment ahead of what is durable.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sidecar.adapters.evidence.frames import FrameBrokenError, frames, is_leaf
from sidecar.adapters.evidence.keys import load_verifier
from sidecar.adapters.evidence.records import decode
from sidecar.adapters.evidence.segments import Marks, Record, Segment, records, segments
from sidecar.errors import Unavailable
from sidecar.model.evidence import Leaf

SCAN_LIMIT = 50_000  # records looked at for one page of ``recent``


class Reader:
    """The records of one log directory. ``marks`` holds what is known of its segments, by first index."""

    def __init__(self, directory: Path, origin: str, marks: dict[int, Marks] | None = None) -> None:
        self._directory = directory
        self._origin = origin
        self._marks = {} if marks is None else marks

    @classmethod
    def open(cls, directory: Path) -> Reader:
        """A reader of any log; its origin is the name of its public key. Raises ``Misconfigured``."""
        return cls(directory, load_verifier(directory).name)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._origin

    def size(self) -> int:
        """How many whole records the files hold now."""
        found = segments(self._directory)
        if not found:
            return 0
        with _open(found[-1]) as descriptor:
            return self._known(found[-1], descriptor).next

    def read(self, index: int) -> Leaf | None:
        """One leaf, or None where there is none."""
        for found, data in self._upto(index):
            if found == index:
                return self._leaf(found, data)
        return None

    def record(self, index: int) -> Record | None:
        """One record as it is stored, with its sealed document; None where there is none."""
        if self.read(index) is None or (segment := self._segment(index)) is None:
            return None
        with _open(segment) as descriptor:
            first, offset, end = self._known(segment, descriptor, index).block(index)
            with _damage_in(segment):
                return next(each for each in records(descriptor, offset, end, first) if each.index == index)

    def range(self, start: int, stop: int) -> Iterator[Leaf]:
        """The leaves from ``start`` up to ``stop``, in order."""
        while start < stop:
            block = self._block(start)
            for index, data in block:
                if start <= index < stop:
                    yield self._leaf(index, data)
            start = block[-1][0] + 1

    def recent(self, principal: str | None, limit: int, before: int) -> tuple[list[Leaf], int | None]:
        """Newest first below index ``before``; the second value is the next page's ``before``, None at the end.

        At most ``SCAN_LIMIT`` records are looked at, so a page can come back short and still have a successor.
        """
        found: list[Leaf] = []
        stop = before
        floor = max(0, before - SCAN_LIMIT)
        named = None if principal is None else b'"principal":' + msgspec.json.encode(principal)
        while stop > floor:
            block = self._block(stop - 1)
            for index, data in reversed(block):
                if index >= stop:
                    continue
                if len(found) == limit:
                    return found, index + 1
                if named is not None and named not in data:
                    continue
                leaf = self._leaf(index, data)
                if principal is None or leaf.principal == principal:
                    found.append(leaf)
            stop = block[0][0]
        return found, stop or None

    def _block(self, index: int) -> list[tuple[int, bytes]]:
        """Index and stored leaf of up to 1,024 records that lie together, ``index`` among them."""
        block = list(self._upto(index, whole=True))
        if not block:
            raise _unreadable(index)
        return block

    def _upto(self, index: int, *, whole: bool = False) -> Iterator[tuple[int, bytes]]:
        """The leaves of the block that ``index`` lies in, up to it or ``whole``; nothing past the end of the log."""
        segment = self._segment(index)
        if segment is None:
            return
        with _open(segment) as descriptor, _damage_in(segment):
            marks = self._known(segment, descriptor, index)
            if index >= marks.next:
                self._check_end(segment, index)
                return
            expected, offset, end = marks.block(index)
            for frame in frames(descriptor, offset, end, attachments=False):
                if frame.index != expected or not is_leaf(frame.kind):
                    raise _unreadable(expected)
                yield expected, frame.payload
                expected += 1
                if frame.index == index and not whole:
                    return
            if expected <= index:
                raise _unreadable(index)

    def _segment(self, index: int) -> Segment | None:
        found = segments(self._directory)
        position = bisect.bisect_right([each.first for each in found], index) - 1
        return found[position] if index >= 0 and position >= 0 else None

    def _check_end(self, segment: Segment, index: int) -> None:
        """Past the end of the log there is nothing; inside it a record that cannot be found was damaged."""
        if segment != segments(self._directory)[-1]:
            raise _unreadable(index)

    def _known(self, segment: Segment, descriptor: int, index: int | None = None) -> Marks:
        marks = self._marks.get(segment.first)
        if marks is None:
            marks = Marks(segment.first)
            marks.extend(descriptor)
            self._marks[segment.first] = marks
        elif index is None or index >= marks.next:
            marks.extend(descriptor)
        return marks

    def _leaf(self, index: int, data: bytes) -> Leaf:
        try:
            leaf = decode(data)
        except msgspec.DecodeError:
            raise _unreadable(index) from None
        if leaf.index != index or leaf.origin != self._origin:
            raise _unreadable(index)
        return leaf


def _unreadable(index: int) -> Unavailable:
    return Unavailable("evidence_unavailable", f"Record {index} of the evidence log cannot be read.")


@contextmanager
def _open(segment: Segment) -> Iterator[int]:
    try:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable("evidence_unavailable", f"{segment.path.name}: {error.strerror}.") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _damage_in(segment: Segment) -> Iterator[None]:
    try:
        yield
    except FrameBrokenError as error:
        raise Unavailable("evidence_unavailable", f"Evidence in {segment.path.name} is damaged: {error}.") from None
