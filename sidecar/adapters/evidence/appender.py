"""The log's last segment: batches of leaves become durable frames, or are said not to have.

    state      takes                          leaves it when
    OPEN       every record                   the disk is full, read-only, or fails
    FULL       records that follow an intent  there is room for the reserve file again
    READ_ONLY  none                           the segment can be opened for writing again
    FAILED     none, for good                 the process ends

A write that did not fit took nothing: the file is cut back to its durable length and the reserve is given up, so that
the outcomes of calls that have already had an effect still fit (E05). After a failed sync nobody knows what the disk
holds, so the log is never written again by this process (E06).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from sidecar.adapters.evidence import checkpoints, segments
from sidecar.adapters.evidence.disk import READ_ONLY_ERRORS, ROOM_ERRORS, Reserve, sync, write_all
from sidecar.adapters.evidence.records import Recorder, Stored
from sidecar.adapters.evidence.recovery import State
from sidecar.adapters.evidence.segments import Head, Marks, Previous
from sidecar.model.evidence import CHUNK, INTENT, OUTCOME, Leaf
from sidecar.rules.notes import Signer

_HEAD_VERSION: Final = 1


class Condition(enum.Enum):
    """What the log takes now; the table at the head of this file."""

    OPEN = "open"
    FULL = "full"
    READ_ONLY = "read-only"
    FAILED = "failed"


class Entry(NamedTuple):
    """One leaf to be stored: when it was handed in (microseconds UTC), and its plain document."""

    leaf: Leaf
    time: int
    document: bytes | None

    @property
    def owed(self) -> bool:
        """Whether it follows an intent: the effect may have happened, so it is stored while anything fits."""
        return self.leaf.intent is not None or self.leaf.kind in (OUTCOME, CHUNK)


class Batch(NamedTuple):
    """Entries on their way to the disk: the place of each (None: not taken), and the bytes of the taken ones."""

    entries: Sequence[Entry]
    indices: list[int | None]
    records: list[tuple[Entry, Stored]]
    data: bytes


class Appender:
    """Owns the last segment. One thread at a time may use it, save that ``size`` and ``condition`` are read anywhere.

    ``prepare`` and ``settle`` compute; everything else that is public reads or writes the disk and may block.
    """

    def __init__(
        self, directory: Path, state: State, signer: Signer, recorder: Recorder, reserve: Reserve, segment_bytes: int,
        signed: int,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._signer = signer
        self._recorder = recorder
        self._reserve = reserve
        self._segment_bytes = segment_bytes
        self._descriptor = state.descriptor
        self._length = state.length
        self._first = state.segment_first
        self._frontier = state.frontier
        self._open = state.open
        self._time = state.time
        self._signed_size = signed
        self._clock_is_back = False
        self.marks = state.marks
        self.size = state.frontier.size
        self.condition = Condition.OPEN
        self.events: list[tuple[str, dict[str, Any]]] = []
        if self._descriptor < 0:
            self._create(None)
        try:
            reserve.take()
        except OSError as error:
            self._become(Condition.FULL, error)

    @property
    def unsigned(self) -> bool:
        """Whether the last checkpoint is behind."""
        return self.size != self._signed_size

    @property
    def grown(self) -> bool:
        """Whether a new segment is due."""
        records = self.size - self._first
        is_due = self._length >= self._segment_bytes or records >= segments.SEGMENT_RECORDS
        return is_due and records > 0 and self._is(Condition.OPEN)

    def prepare(self, entries: Sequence[Entry]) -> Batch:
        """The bytes of ``entries`` at the places they get if all goes well. Touches no disk."""
        if self._is(Condition.READ_ONLY):
            return Batch(entries, [None] * len(entries), [], b"")
        owed_only = self._is(Condition.FULL)
        return self._encode(entries, lambda each: each.owed or not owed_only)

    def write(self, batch: Batch) -> Batch:
        """Make ``batch`` durable, or what of it can be; what is returned is what is durable now.

        Raises ``SyncFailedError`` or ``OSError`` when the disk failed; nothing may follow that.
        """
        try:
            return self._store(batch)
        except OSError as error:
            self._withdraw(error)
        if not self._is(Condition.READ_ONLY):
            try:
                return self._store(self._encode(batch.entries, lambda each: each.owed))
            except OSError as error:
                self._withdraw(error)
        return Batch(batch.entries, [None] * len(batch.entries), [], b"")

    def settle(self, batch: Batch) -> list[int | None]:
        """Only now that they are durable do the tree, the open intents and the marks know of them; their places."""
        marks, index, offset = self.marks[self._first], self.size, self._length
        for entry, stored in batch.records:
            self._frontier.append(stored.hash)
            marks.note(index, offset, offset := offset + len(stored.data))
            if entry.leaf.kind == INTENT:
                self._open[index] = None
            elif entry.leaf.intent is not None and entry.leaf.kind != CHUNK:
                self._open.pop(entry.leaf.intent, None)
            index += 1
        self._length = offset
        self.size = index
        return batch.indices

    def rotate(self) -> None:
        """Begin a new segment. If that cannot be done the old one simply grows on, and a later try may succeed."""
        old = self._descriptor
        try:
            self._create(Previous(self._first, self._length))
        except OSError as error:
            self.events.append(("evidence_rotation_failed", {"error": error.strerror}))
            return
        os.close(old)

    def checkpoint(self) -> None:
        """Sign what is durable. A disk without room keeps the old checkpoint. Raises ``SyncFailedError``."""
        if not self.unsigned:
            return
        try:
            checkpoints.store(self._directory, self._signer, self.size, self._frontier.root())
        except OSError as error:
            self.events.append(("evidence_checkpoint_failed", {"error": error.strerror}))
            return
        self._signed_size = self.size

    def probe(self) -> None:
        """Try to return to OPEN. Raises ``SyncFailedError``."""
        if self.condition in (Condition.OPEN, Condition.FAILED):
            return
        try:
            if self.condition is Condition.READ_ONLY:
                self._reopen()
            self._reserve.take()
        except OSError as error:
            if self.condition is Condition.READ_ONLY and error.errno in ROOM_ERRORS:
                self._become(Condition.FULL, error)
            return
        self.condition = Condition.OPEN
        self.events.append(("evidence_recovered", {}))

    def fail(self, reason: str) -> None:
        """Take nothing any more."""
        if self.condition is not Condition.FAILED:
            self.condition = Condition.FAILED
            self.events.append(("evidence_failed", {"error": reason}))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _encode(self, entries: Sequence[Entry], is_taken: Callable[[Entry], bool]) -> Batch:
        indices: list[int | None] = []
        records: list[tuple[Entry, Stored]] = []
        for entry in entries:
            index = self.size + len(records)
            stored = self._record(entry, index) if is_taken(entry) else None
            if stored is None:
                indices.append(None)
            else:
                indices.append(index)
                records.append((entry, stored))
        return Batch(entries, indices, records, b"".join([stored.data for _, stored in records]))

    def _store(self, batch: Batch) -> Batch:
        if batch.records:
            write_all(self._descriptor, batch.data, self._length)
            sync(self._descriptor)
        return batch

    def _record(self, entry: Entry, index: int) -> Stored | None:
        """One record's bytes, or None for a leaf that has no JSON: a fault of ours that must not stop the log."""
        time = entry.time
        if time < self._time:
            if not self._clock_is_back:
                self.events.append(("evidence_clock_back", {"microseconds": self._time - time}))
            time = self._time
        self._clock_is_back = entry.time < self._time
        try:
            stored = self._recorder.store(entry.leaf, index, time, entry.document)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            self.events.append(("evidence_unencodable", {"kind": entry.leaf.kind, "error": type(error).__name__}))
            return None
        self._time = time
        return stored

    def _withdraw(self, error: OSError) -> None:
        """Take back what a failed write left, and decide what may follow it. Raises the error when nothing may."""
        if error.errno not in ROOM_ERRORS | READ_ONLY_ERRORS:
            raise error
        if error.errno in ROOM_ERRORS:
            self._become(Condition.FULL, error)
            self._reserve.release()
            os.ftruncate(self._descriptor, self._length)
        else:
            self._become(Condition.READ_ONLY, error)

    def _is(self, condition: Condition) -> bool:
        return self.condition is condition

    def _become(self, condition: Condition, error: OSError) -> None:
        if self.condition is not condition:
            self.condition = condition
            self.events.append((f"evidence_{condition.name.lower()}", {"error": error.strerror}))

    def _reopen(self) -> None:
        fresh = os.open(self._directory / f"{self._first:020d}.seg", os.O_RDWR | os.O_CLOEXEC)
        os.close(self._descriptor)
        self._descriptor = fresh
        os.ftruncate(fresh, self._length)
        sync(fresh)

    def _create(self, previous: Previous | None) -> None:
        head = Head(
            _HEAD_VERSION,
            self._signer.verifier.name,
            self.size,
            tuple(each.hex() for each in self._frontier.hashes),
            tuple(self._open),
            self._time,
            previous,
        )
        self._descriptor, self._length = segments.create(self._directory, head)
        self._first = self.size
        self.marks[self._first] = Marks(self._first, self._length)
