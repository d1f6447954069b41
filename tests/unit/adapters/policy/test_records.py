from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.history import History
from sidecar.adapters.policy.library import About
from sidecar.adapters.policy.records import CHANGE_KIND, Asked, Records
from sidecar.errors import Misconfigured, Reason, Unavailable
from sidecar.model.activation import REFUSED
from tests.fakes.clock import HeldClock
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.observer import RecordingObserver

ABOUT = About("r1", 3, "sha256:" + "b" * 64, "sha256:" + "d" * 64, "release", 2)
ASKED = Asked("bundle.tar.gz", "admin", "because")
WRONG = Misconfigured("the bundle is refused", [Reason("canary_failed", "x" * 900), Reason("other", "y")])


@pytest.fixture
def evidence() -> MemoryEvidence:
    return MemoryEvidence()


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def records(tmp_path: Path, evidence: MemoryEvidence, observer: RecordingObserver) -> Iterator[Records]:
    made = Records(History.open(tmp_path), evidence, HeldClock(), observer, "acme")
    yield made
    made.history.close()


async def test_an_intention_is_evidence_then_history(records: Records, evidence: MemoryEvidence) -> None:
    entry = records.activation(ABOUT, ASKED, tests=4, cases=5)
    first = await records.intend(entry, b"archive", "sha256:before")
    [leaf] = evidence.leaves
    assert leaf.change is not None
    assert (leaf.tenant, leaf.principal, leaf.bundle) == ("acme", "admin", ABOUT.digest)
    assert (leaf.change.kind, leaf.change.id, leaf.change.verb) == (CHANGE_KIND, ABOUT.digest, "put")
    assert (leaf.change.before, leaf.change.after, leaf.change.version) == ("sha256:before", ABOUT.digest, None)
    assert records.history.entries == [entry]
    assert records.history.archive(ABOUT.bundle) == b"archive"
    assert (first, entry.number) == ((leaf.index, leaf.call_id), 1)
    assert (entry.tests, entry.cases) == (4, 5)


async def test_a_confirmation_names_the_intention(
    records: Records, evidence: MemoryEvidence, observer: RecordingObserver
) -> None:
    entry = records.activation(ABOUT, ASKED, 0, 0)
    await records.confirm(entry, None, await records.intend(entry, b"", None))
    first, second = evidence.leaves
    assert second.change is not None
    assert (second.change.of, second.change.version) == (first.index, entry.number)
    assert second.call_id == first.call_id, "a verifier takes the second for another call's"
    assert [(told["revision"], told["by"]) for told in observer.named("policy_activated")] == [
        (ABOUT.digest, "admin")
    ]


async def test_without_evidence_there_is_no_history(
    records: Records, evidence: MemoryEvidence, observer: RecordingObserver
) -> None:
    evidence.available = False
    with pytest.raises(Unavailable):
        await records.intend(records.activation(ABOUT, ASKED, 0, 0), b"", None)
    assert records.history.entries == []
    assert [told["code"] for told in observer.named("policy_rejected")] == ["evidence_unavailable"]


async def test_what_the_history_cannot_take_is_told_as_not_made(records: Records, evidence: MemoryEvidence) -> None:
    entry = records.activation(ABOUT, ASKED, 0, 0)
    records.history.close()
    with pytest.raises(Unavailable):
        await records.intend(entry, b"", "sha256:before")
    first, second = evidence.leaves
    assert second.change is not None
    assert (second.change.of, second.change.version, second.call_id) == (first.index, None, first.call_id)
    assert second.code == "policy_unavailable" and "cannot be written" in second.reasons[0]["message"]


async def test_a_refusal_says_why_and_is_written_once(
    records: Records, evidence: MemoryEvidence, observer: RecordingObserver
) -> None:
    for _ in range(3):
        await records.refuse(ABOUT, ASKED, WRONG, None)
    [entry] = records.history.entries
    assert (entry.outcome, entry.code, len(entry.errors)) == (REFUSED, "canary_failed", 2)
    [leaf] = evidence.leaves
    assert leaf.code == "canary_failed"
    assert len(leaf.reasons[0]["message"]) == 500
    assert len(observer.named("policy_rejected")) == 1
    await records.refuse(ABOUT, ASKED, Misconfigured("another reason"), None)
    assert records.history.entries[-1].code == "misconfigured"


async def test_a_refusal_of_what_could_not_be_read_names_where_it_is_from(
    records: Records, evidence: MemoryEvidence
) -> None:
    await records.refuse(About(), ASKED, WRONG, "sha256:before")
    [leaf] = evidence.leaves
    assert leaf.change is not None
    assert (leaf.change.id, leaf.change.after, leaf.bundle) == ("bundle.tar.gz", None, None)
