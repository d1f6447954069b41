"""Check a whole log without trusting the process that wrote it: every byte, every link, the signed root.

Reads only; works on the log of a running process. Needs no secret: the public key, the checkpoint and the segments.
Give ``vkey`` when the log's own ``checkpoint.pub`` is not to be believed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sidecar.adapters.evidence import checkpoints, frames
from sidecar.adapters.evidence.frames import LEAF_KINDS, FrameBrokenError
from sidecar.adapters.evidence.keys import load_verifier
from sidecar.adapters.evidence.records import decode
from sidecar.adapters.evidence.segments import Head, Previous, Record, Segment, read_head, records, segments
from sidecar.errors import Misconfigured
from sidecar.model.evidence import CHUNK, INTENT, Change, Leaf
from sidecar.rules.notes import Checkpoint, NoteBrokenError, Verifier
from sidecar.rules.tree import Frontier, leaf_hash

PROBLEM_LIMIT: Final = 100
_PROGRESS_EVERY: Final = 4096
_KIND_OF: Final = {code: name for name, code in LEAF_KINDS.items()}

Progress = Callable[[int, int], None]  # bytes read, bytes in all


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that does not hold: where (file, byte, record) and what."""

    what: str
    file: str | None = None
    offset: int | None = None
    index: int | None = None


class Report(msgspec.Struct, kw_only=True):
    """What ``verify`` found.

    ``unknown`` are intents without an outcome: nobody knows whether they had an effect. ``unsettled`` are changes by
    administrators of which no record says what came of them; the registry, or the credential store, shows it.
    """

    origin: str = ""
    ok: bool = False
    records: int = 0
    attachments: int = 0
    segments: int = 0
    bytes: int = 0
    checkpoint_size: int | None = None
    root: str | None = None
    unknown: list[int] = []
    unsettled: list[int] = []
    repeated: list[int] = []  # records that close an intent which was closed before
    unfinished_bytes: int = 0  # of a write under way, or torn by a crash and not yet cut off
    problems: list[Problem] = []


def verify_log(directory: Path, progress: Progress | None = None, vkey: str | None = None) -> Report:
    """Check everything; ``Report.ok`` says whether it holds. Raises ``Misconfigured`` where there is no directory."""
    if not directory.is_dir():
        raise Misconfigured(f"{directory}: there is no such directory.")
    check = _Check(directory, progress or (lambda _done, _all: None))
    check.run(vkey)
    return check.report


class _Check:
    def __init__(self, directory: Path, progress: Progress) -> None:
        self.report = Report(unknown=[], unsettled=[], repeated=[], problems=[])
        self._directory = directory
        self._progress = progress
        self._checkpoint: Checkpoint | None = None
        self._frontier = Frontier()
        self._open: dict[int, str] = {}  # intents without an outcome, and their calls
        self._changes: dict[int, str] = {}  # changes without a second record, and their calls
        self._kinds = bytearray()  # the kind of every record so far
        self._time = 0
        self._read = self._total = 0
        self._file = ""

    def run(self, vkey: str | None) -> None:
        report = self.report
        # the checkpoint first: what a running process adds meanwhile is then past it
        self._load_checkpoint(vkey)
        found = segments(self._directory)
        self._total = sum(each.path.stat().st_size for each in found)
        report.segments, report.bytes = len(found), self._total
        before: Previous | None = None
        for segment in found:
            before = self._segment(segment, before, last=segment == found[-1])
            if before is None:
                break
        self._progress(self._total, self._total)
        report.records = self._frontier.size
        report.unknown, report.unsettled = list(self._open), list(self._changes)
        if self._checkpoint and self._frontier.size < self._checkpoint.size:
            self._note(
                f"the signed checkpoint covers {self._checkpoint.size} records, and only {self._frontier.size} could"
                " be read: evidence was removed, damaged, or an older copy put back"
            )
        report.ok = not report.problems

    def _load_checkpoint(self, vkey: str | None) -> None:
        try:
            verifier = load_verifier(self._directory) if vkey is None else Verifier.from_text(vkey)
            self.report.origin = verifier.name
            checkpoint = self._checkpoint = checkpoints.load(self._directory, verifier)
        except (Misconfigured, NoteBrokenError, ValueError) as error:
            self._note(str(error))
            return
        self.report.checkpoint_size, self.report.root = checkpoint.size, checkpoint.root.hex()
        self._check_root()

    def _segment(self, segment: Segment, before: Previous | None, *, last: bool) -> Previous | None:
        """Check one segment; what its successor must say of it, or None when it could not be read to its end."""
        self._file = segment.path.name
        try:
            return self._read_through(segment, before, last=last)
        except OSError as error:
            self._note(f"the segment cannot be read: {error.strerror}", 0, self._frontier.size)
            return None

    def _read_through(self, segment: Segment, before: Previous | None, *, last: bool) -> Previous | None:
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            head, offset = read_head(descriptor, segment.first)
            self._head(head, before)
            for record in records(descriptor, offset, size, segment.first):
                self._record(record)
                if record.index % _PROGRESS_EVERY == 0:
                    self._progress(self._read + record.end, self._total)
            self._read += size
        except FrameBrokenError as error:
            if not (last and self._unfinished(descriptor, error.offset)):
                self._note(error.detail, error.offset, self._frontier.size)
                return None
        finally:
            os.close(descriptor)
        return Previous(segment.first, size)

    def _unfinished(self, descriptor: int, offset: int) -> bool:
        """Whether what is no record at the end of the log can be a write under way: past the checkpoint, and last."""
        covered = self._checkpoint.size if self._checkpoint else 0
        tail = os.pread(descriptor, os.fstat(descriptor).st_size - offset, offset)
        if self._frontier.size < covered or offset == 0 or frames.find_frame(tail, self._frontier.size) is not None:
            return False
        self.report.unfinished_bytes = len(tail)
        return True

    def _head(self, head: Head, before: Previous | None) -> None:
        if head.first != self._frontier.size:
            self._note(f"the segment begins at record {head.first}, not at {self._frontier.size}: one is missing", 0)
        elif head.frontier().hashes != self._frontier.hashes:
            self._note("the tree before this segment differs from the records before it: one of those was changed", 0)
        if self.report.origin and head.origin != self.report.origin:
            self._note(f"the segment belongs to the log {head.origin}", 0)
        if head.previous != before or head.open != tuple(self._open) or head.time != self._time:
            self._note("the segment's head does not continue the segment before", 0)

    def _record(self, record: Record) -> None:
        self._frontier.append(leaf_hash(record.leaf))
        self._kinds.append(record.kind)
        try:
            leaf = decode(record.leaf)
        except msgspec.DecodeError:
            self._note("the leaf is not readable", record.offset, record.index)
        else:
            self._leaf(record, leaf)
        self._check_root()

    def _leaf(self, record: Record, leaf: Leaf) -> None:
        def note(what: str) -> None:
            self._note(what, record.offset, record.index)

        ours = leaf.origin == self.report.origin or not self.report.origin  # of a log without a key nobody knows
        if not ours or leaf.index != record.index:
            note(f"the leaf says it is {leaf.origin}/{leaf.index}")
        if leaf.kind != _KIND_OF.get(record.kind):
            note("the leaf's kind differs from its frame's")
        if leaf.time < self._time:
            note("the time goes back")
        self._time = max(self._time, leaf.time)
        self._attachment(record, leaf, note)
        if leaf.kind == INTENT:
            self._open[record.index] = leaf.call_id
        elif leaf.intent is not None:
            self._link(record, leaf, leaf.intent, note)
        elif leaf.change is not None:
            self._change(record, leaf, leaf.change, note)

    def _attachment(self, record: Record, leaf: Leaf, note: Callable[[str], None]) -> None:
        if record.sealed is None:
            if leaf.attachment is not None:
                note("the sealed document is missing")
            return
        self.report.attachments += 1
        if leaf.attachment is None or hashlib.sha256(record.sealed).hexdigest() != leaf.attachment.sha256:
            note("the sealed document is not the one the leaf names")

    def _link(self, record: Record, leaf: Leaf, intent: int, note: Callable[[str], None]) -> None:
        if not 0 <= intent < record.index or self._kinds[intent] != LEAF_KINDS[INTENT]:
            note(f"it follows the intent {intent}, which does not exist")
        elif intent not in self._open:
            self.report.repeated.append(record.index)
        elif self._open[intent] != leaf.call_id:
            note(f"it follows the intent {intent}, which belongs to another call")
        elif leaf.kind != CHUNK:
            del self._open[intent]

    def _change(self, record: Record, leaf: Leaf, change: Change, note: Callable[[str], None]) -> None:
        if change.of is None:
            if leaf.code is None:  # else it is whole: what was refused before anything was changed
                self._changes[record.index] = leaf.call_id
        elif self._changes.pop(change.of, None) != leaf.call_id:
            note(f"it says what came of the change {change.of}, which is not open, or belongs to another call")

    def _check_root(self) -> None:
        checkpoint = self._checkpoint
        if checkpoint and self._frontier.size == checkpoint.size and self._frontier.root() != checkpoint.root:
            self._note(f"the root of the first {checkpoint.size} records is not the signed one: a record was changed")

    def _note(self, what: str, offset: int | None = None, index: int | None = None) -> None:
        if len(self.report.problems) < PROBLEM_LIMIT:
            file = self._file if offset is not None else None
            self.report.problems.append(Problem(what, file, offset, index))
