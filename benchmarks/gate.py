"""What must hold of a run before its numbers mean anything: evidence that is complete, verifies and agrees."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.adapters.evidence.records import decode
from sidecar.adapters.evidence.segments import read_head, records, segments
from sidecar.adapters.evidence.verify import verify_log
from sidecar.model.evidence import INTENT, OUTCOME, Leaf


class Sent(NamedTuple):
    """One load of a governed subject: completed requests as wrk counted them, and its connections."""

    completed: int
    connections: int


class Audit(NamedTuple):
    """What a log says, and what does not hold of it."""

    intents: int
    reached: int  # outcomes whose call was answered by the upstream
    keys: frozenset[str]  # idempotency keys of the intents
    codes: dict[str, int]  # refusals and failed outcomes by code
    problems: tuple[str, ...]


def leaves(directory: Path) -> Iterator[Leaf]:
    """Every record of a log, oldest first."""
    for segment in segments(directory):
        descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _, offset = read_head(descriptor, segment.first)
            for record in records(descriptor, offset, os.fstat(descriptor).st_size, segment.first):
                yield decode(record.leaf)
        finally:
            os.close(descriptor)


def audit(directory: Path) -> Audit:
    """Verify a log that was closed, and count. Every intent must have its one outcome, under a signed root."""
    report = verify_log(directory)
    problems = [f"evidence: {problem.what}" for problem in report.problems]
    if report.unknown:
        problems.append(f"{len(report.unknown)} intents have no outcome")
    if report.repeated:
        problems.append(f"{len(report.repeated)} outcomes close an intent a second time")
    if report.checkpoint_size != report.records:
        problems.append(f"the signed checkpoint covers {report.checkpoint_size} of {report.records} records")
    intents = reached = outcomes = 0
    keys: set[str] = set()
    codes: Counter[str] = Counter()
    for leaf in leaves(directory):
        if leaf.code is not None:
            codes[leaf.code] += leaf.count or 1
        if leaf.kind == INTENT:
            intents += 1
            if leaf.idempotency_key is not None:
                keys.add(leaf.idempotency_key)
        elif leaf.kind == OUTCOME:
            outcomes += 1
            reached += leaf.result is not None and leaf.result.status is not None
    if intents != outcomes:
        problems.append(f"{intents} intents, {outcomes} outcomes")
    return Audit(intents, reached, frozenset(keys), dict(codes), tuple(problems))


def agree(found: Audit, upstream: int, sent: Sequence[Sent]) -> list[str]:
    """What does not hold between the log, the upstream's count and wrk's; empty when all agree."""
    problems = list(found.problems)
    problems += [f"{count} calls ended as {code}" for code, count in found.codes.items()]
    completed = sum(one.completed for one in sent)
    most = completed + sum(one.connections for one in sent)
    if upstream != found.reached:
        problems.append(f"the upstream counted {upstream} requests, the evidence {found.reached} that reached it")
    if not completed <= upstream <= most:
        problems.append(
            f"the upstream counted {upstream} requests, wrk {completed} (at most {most} may have been sent)"
        )
    return problems


def join(found: Audit, ids: Sequence[str]) -> list[str]:
    """The upstream's own list of calls against the intents, both ways."""
    problems = []
    if len(set(ids)) != len(ids):
        problems.append(f"{len(ids) - len(set(ids))} calls reached the upstream twice")
    if lost := len(set(ids) - found.keys):
        problems.append(f"{lost} calls reached the upstream without an intent")
    if missing := len(found.keys - set(ids)):
        problems.append(f"{missing} intents never reached the upstream")
    return problems
