"""Two phases of an activation, each failure of the first, and the way back (P03)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from sidecar.adapters.policy.activation import AGAIN_SECONDS, Activations
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.history import History
from sidecar.adapters.policy.records import Records
from sidecar.config.decision_cases import complete
from sidecar.config.load import Loaded, read
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.activation import ACTIVATED, REFUSED
from sidecar.model.decision import Decision
from tests.fakes import bundles as made
from tests.fakes.clock import HeldClock
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.observer import RecordingObserver
from tests.unit.config.builders import changed, written

AGENT = msgspec.json.encode(complete({"tenant": "acme"}))


def no_token(text: str) -> NoReturn:
    raise AssertionError(text)


class Stage:
    """Activations over a bundle file, with everything they tell and write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle: dict[str, Any] = {
            "file": "bundle.tar.gz",
            "keys": {"release": {"algorithm": "RS256", "file": made.written_key(folder).name}},
        }
        self.clock, self.observer, self.evidence = HeldClock(), RecordingObserver(), MemoryEvidence()
        self.opened: list[Activations] = []

    def loaded(self) -> Loaded:
        return read(written(self.folder, changed("policy", {"bundle": self.bundle})), {}, {})

    def open(self) -> Activations:
        """As a process does at its start."""
        self.engine = EmbeddedEngine(0.5, 5.0, self.observer)
        records = Records(History.open(self.folder / "state"), self.evidence, self.clock, self.observer, "acme")
        made_now = Activations(self.engine, records, self.loaded(), self.clock, self.observer, no_token)
        self.opened.append(made_now)
        return self.opened[-1]

    def offer(self, archive: bytes) -> None:
        fresh = self.folder / "fresh"
        fresh.write_bytes(archive)
        fresh.replace(self.folder / "bundle.tar.gz")

    async def allows(self) -> bool:
        verdict = await self.engine.evaluate(AGENT)
        assert verdict.answer is not None
        assert verdict.revision == self.engine.revision
        return msgspec.json.decode(verdict.answer, type=Decision).allow

    def codes(self) -> list[str]:
        return [told["code"] for told in self.observer.named("policy_rejected")]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made_here = Stage(tmp_path)
    yield made_here
    for activations in made_here.opened:
        await activations.close()


OPEN, SHUT = {"custom.rego": made.ALLOW}, {"custom.rego": made.DENY}


async def test_a_start_activates_what_the_source_has(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN, sequence=1, revision="first"))
    activations = stage.open()
    await activations.load()
    assert await stage.allows()
    [entry] = activations.listed(10)
    assert (entry.outcome, entry.by, entry.name, entry.sequence, entry.key) == (
        ACTIVATED, "source", "first", 1, "release",
    )  # fmt: skip
    assert entry.origin == str(stage.folder / "bundle.tar.gz")
    assert entry.revision == stage.engine.revision
    assert activations.problem is None


async def test_a_newer_bundle_is_activated_and_an_unchanged_one_is_left_alone(stage: Stage) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT), 1):
        stage.offer(made.bundle(files, sequence=number))
        await activations.look()
        await activations.look()
    assert not await stage.allows()
    assert [entry.sequence for entry in activations.listed(10)] == [2, 1]
    assert len(stage.observer.named("policy_load")) == 2


async def test_every_activation_is_evidence_before_it_decides_and_when_it_does(stage: Stage) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT), 1):
        stage.offer(made.bundle(files, sequence=number))
        await activations.load()
    first, second, third, fourth = stage.evidence.leaves
    assert {leaf.kind for leaf in stage.evidence.leaves} == {"change"}
    assert first.change is not None and second.change is not None and third.change is not None
    assert (first.change.of, first.change.version) == (None, None)
    assert (second.change.of, second.change.version) == (first.index, 1)
    assert (third.change.before, third.change.after) == (first.change.after, fourth.bundle)
    assert {leaf.principal for leaf in stage.evidence.leaves} == {"source"}


async def test_without_evidence_nothing_is_activated_and_it_is_tried_again(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    activations = stage.open()
    stage.evidence.available = False
    await activations.load()
    await activations.look()
    assert stage.engine.revision is None
    assert stage.codes() == ["evidence_unavailable"]
    assert activations.listed(10) == []
    stage.evidence.available = True
    stage.clock.advance(AGAIN_SECONDS)
    await activations.look()
    assert await stage.allows()


async def refusing(stage: Stage, archive: bytes, code: str) -> Activations:
    """A good bundle decides; ``archive`` comes after it."""
    stage.offer(made.bundle(OPEN, sequence=5))
    activations = stage.open()
    await activations.load()
    revision = stage.engine.revision
    stage.offer(archive)
    await activations.look()
    assert stage.engine.revision == revision
    assert await stage.allows()
    assert stage.codes() == [code]
    entry = activations.listed(1)[0]
    assert (entry.outcome, entry.code) == (REFUSED, code)
    assert entry.errors
    assert activations.problem is not None
    leaf = stage.evidence.leaves[-1]
    assert (leaf.kind, leaf.code) == ("change", code)
    return activations


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "older": (lambda: made.bundle(SHUT, sequence=4), "older_bundle"),
    "of the same number": (lambda: made.bundle(SHUT, sequence=5), "same_sequence"),
    "without a number": (lambda: made.bundle(SHUT, sequence=None), "no_sequence"),
    "unsigned": (lambda: made.bundle(SHUT, sequence=6, signer=None), "unsigned"),
    "of a stranger": (lambda: made.bundle(SHUT, sequence=6, signer="stranger"), "unknown_key"),
    "forged": (lambda: made.bundle(SHUT, sequence=6, signer="stranger", key_id="release"), "bad_signature"),
    "cut off": (lambda: made.bundle(SHUT, sequence=6)[:-10], "archive_refused"),
    "no bundle": (lambda: b"<html>", "archive_refused"),
    "misspelt": (
        lambda: made.bundle({"custom.rego": "package sidecar.custom\n\nallow if input.plan == 1\n"}, sequence=6),
        "rego_type_error",
    ),
    "failing its own test": (
        lambda: made.bundle({**OPEN, "a_test.rego": "package sidecar.a_test\n\ntest_a if 1 == 2\n"}, sequence=6),
        "test_failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
async def test_p03_what_is_refused_leaves_the_last_good_one_and_is_told(stage: Stage, what: str) -> None:
    make, code = CASES[what]
    await refusing(stage, make(), code)


async def test_p03_an_alarm_is_told_once_however_often_it_is_offered(stage: Stage) -> None:
    activations = await refusing(stage, made.bundle(SHUT, sequence=4), "older_bundle")
    for _ in range(3):
        await activations.look()
        await activations.load()
    assert stage.codes() == ["older_bundle"]
    assert len(activations.listed(10)) == 2
    await activations.close()
    again = stage.open()
    await again.load()
    assert stage.codes() == ["older_bundle"]
    assert await stage.allows()


async def test_p03_a_replayed_bundle_is_refused_after_a_restart_too(stage: Stage) -> None:
    old, new = made.bundle(SHUT, sequence=1), made.bundle(OPEN, sequence=2)
    activations = stage.open()
    for archive in (old, new):
        stage.offer(archive)
        await activations.load()
    await activations.close()
    stage.offer(old)
    await stage.open().load()
    assert await stage.allows()
    assert stage.codes() == ["older_bundle"]


async def test_a_good_bundle_after_a_bad_one_clears_the_problem(stage: Stage) -> None:
    activations = await refusing(stage, made.bundle(SHUT, sequence=4), "older_bundle")
    stage.offer(made.bundle(SHUT, sequence=6))
    await activations.look()
    assert activations.problem is None
    assert not await stage.allows()


async def test_canaries_refuse_what_would_shut_the_agent_out(stage: Stage) -> None:
    (stage.folder / "canaries.yaml").write_text("cases: [{name: the agent reads, expect: allow}]\n")
    stage.bundle["canaries"] = "canaries.yaml"
    activations = await refusing(stage, made.bundle(SHUT, sequence=6), "canary_failed")
    assert "the agent reads" in activations.listed(1)[0].errors[0]
    assert activations.listed(2)[1].cases == 1


async def test_a_restart_goes_on_with_the_last_good_one_while_the_source_is_away(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    first = stage.open()
    await first.load()
    revision = stage.engine.revision
    await first.close()
    (stage.folder / "bundle.tar.gz").unlink()
    again = stage.open()
    await again.load()
    assert stage.engine.revision == revision
    assert await stage.allows()
    assert "cannot be read" in str(again.problem)
    assert [told["outcome"] for told in stage.observer.named("policy_source")] == ["answers", "failed"]
    stage.offer(made.bundle(OPEN))
    await again.look()
    assert again.problem is None
    assert len(again.listed(10)) == 1


async def test_what_is_kept_on_the_disk_is_not_believed_unseen(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    first = stage.open()
    await first.load()
    await first.close()
    [kept] = (stage.folder / "state" / "bundles").iterdir()
    kept.write_bytes(made.bundle(SHUT, sequence=2, signer=None))
    (stage.folder / "bundle.tar.gz").unlink()
    await stage.open().load()
    assert stage.engine.revision is None
    assert stage.codes() == ["unsigned"]
    kept.write_bytes(made.bundle(SHUT, sequence=2))
    await stage.opened[-1].close()
    await stage.open().load()
    assert stage.engine.revision is None


async def test_a_key_that_is_taken_away_takes_its_bundles_with_it(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    first = stage.open()
    await first.load()
    await first.close()
    stage.bundle["keys"] = {"next": {"algorithm": "RS256", "file": made.written_key(stage.folder, "next").name}}
    await stage.open().load()
    assert stage.engine.revision is None
    stage.offer(made.bundle(OPEN, signer="next"))
    await stage.opened[-1].look()
    assert await stage.allows()


async def test_a_rollback_goes_back_and_stays_until_something_newer_comes(stage: Stage) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT), 1):
        stage.offer(made.bundle(files, sequence=number, revision=f"v{number}"))
        await activations.load()
    entry = await activations.rollback(None, "admin", "v2 shuts everybody out")
    assert await stage.allows()
    assert (entry.rollback, entry.by, entry.reason, entry.name) == (True, "admin", "v2 shuts everybody out", "v1")
    await activations.load()
    assert await stage.allows()
    assert stage.codes() == ["withdrawn"]
    await activations.close()
    again = stage.open()
    await again.load()
    assert await stage.allows()
    newer = made.bundle({"custom.rego": made.DENY + "# again\n"}, sequence=3)
    stage.offer(newer)
    await again.look()
    assert not await stage.allows()


async def test_an_administrator_may_undo_a_rollback(stage: Stage) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT), 1):
        stage.offer(made.bundle(files, sequence=number))
        await activations.load()
    await activations.rollback(None, "admin", "by mistake")
    entry = await activations.activate(by="admin", reason="undone")
    assert entry is not None
    assert not await stage.allows()


async def test_a_second_rollback_goes_further_back_and_never_to_what_was_rolled_back_from(stage: Stage) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT, {"custom.rego": made.DENY + "# three\n"}), 1):
        stage.offer(made.bundle(files, sequence=number, revision=f"v{number}"))
        await activations.load()
    names = [(await activations.rollback(None, "admin", "x")).name for _ in range(2)]
    assert names == ["v2", "v1"]
    with pytest.raises(Misconfigured, match="was rolled back from; name the one that is meant with --to"):
        await activations.rollback(None, "admin", "x")
    assert (await activations.rollback("v3", "admin", "it was right")).name == "v3"


@pytest.mark.parametrize("name", ["v1", "1", "digest"])
async def test_a_rollback_is_named_by_revision_sequence_or_digest(stage: Stage, name: str) -> None:
    activations = stage.open()
    for number, files in enumerate((OPEN, SHUT, {"custom.rego": made.DENY + "# three\n"}), 1):
        stage.offer(made.bundle(files, sequence=number, revision=f"v{number}"))
        await activations.load()
    oldest = activations.listed(10)[-1]
    assert oldest.revision is not None
    await activations.rollback(oldest.revision[:20] if name == "digest" else name, "admin", "x")
    assert stage.engine.revision == oldest.revision


async def test_a_rollback_to_nothing_says_what_to_do(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    activations = stage.open()
    await activations.load()
    with pytest.raises(Misconfigured, match="no other bundle is kept; `sidecar policy history"):
        await activations.rollback(None, "admin", "x")
    with pytest.raises(Misconfigured, match="is called 'v9'"):
        await activations.rollback("v9", "admin", "x")


async def test_a_file_is_activated_by_hand_and_held_to_the_same(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN, sequence=5))
    activations = stage.open()
    await activations.load()
    (stage.folder / "hand.tar.gz").write_bytes(made.bundle(SHUT, sequence=6))
    entry = await activations.activate(stage.folder / "hand.tar.gz", "admin", "at once")
    assert entry is not None
    assert (entry.by, entry.reason, entry.origin) == ("admin", "at once", str(stage.folder / "hand.tar.gz"))
    assert not await stage.allows()
    assert await activations.activate(stage.folder / "hand.tar.gz", "admin", "again") is None
    (stage.folder / "old.tar.gz").write_bytes(made.bundle(OPEN, sequence=4))
    with pytest.raises(Misconfigured) as caught:
        await activations.activate(stage.folder / "old.tar.gz", "admin", "old")
    assert [reason.code for reason in caught.value.reasons] == ["older_bundle"]
    with pytest.raises(Unavailable):
        await activations.activate(stage.folder / "gone", "admin", "x")


async def test_a_url_is_asked_no_more_often_than_said(stage: Stage) -> None:
    stage.bundle = {"url": "http://127.0.0.1:9/bundle", "poll_seconds": 10, "keys": stage.bundle["keys"]}
    activations = stage.open()
    asked: list[str | None] = []

    class Counting:
        origin = "here"

        async def fetch(self, seen: str | None) -> None:
            asked.append(seen)

    activations._source = Counting()
    for _ in range(25):
        await activations.look()
        stage.clock.advance(1.0)
    assert len(asked) == 3


async def test_another_configuration_holds_from_the_next_load_on(stage: Stage) -> None:
    stage.offer(made.bundle(OPEN))
    activations = stage.open()
    await activations.load()
    stage.bundle["file"] = "elsewhere.tar.gz"
    (stage.folder / "elsewhere.tar.gz").write_bytes(made.bundle(SHUT, sequence=2))
    activations.configure(stage.loaded())
    await activations.load()
    assert not await stage.allows()


async def test_what_cannot_be_recorded_is_not_tried_with_every_look(stage: Stage) -> None:
    activations = stage.open()
    stage.offer(made.bundle(OPEN, sequence=1))
    activations._history.close()
    for _ in range(3):
        await activations.look()
    assert len(stage.evidence.leaves) == 2 and stage.engine.revision is None
    stage.clock.advance(AGAIN_SECONDS)
    await activations.look()
    assert len(stage.evidence.leaves) == 4


async def test_p03_a_rollback_is_to_what_was_kept_and_nothing_else(stage: Stage) -> None:
    activations = stage.open()
    archives = [made.bundle(OPEN, sequence=1), made.bundle(SHUT, sequence=2)]
    for archive in archives:
        stage.offer(archive)
        await activations.load()
    older = activations.listed(10)[1]
    kept = stage.folder / "state" / "bundles" / f"{(older.bundle or '').removeprefix('sha256:')}.tar"
    for other in (made.bundle({"custom.rego": made.ALLOW + "# another"}, sequence=1), archives[1]):
        kept.write_bytes(other)
        with pytest.raises(Misconfigured, match="has other content now"):
            await activations.rollback(None, "ada", "why")
        assert not await stage.allows()
    kept.write_bytes(archives[0])
    assert (await activations.rollback(None, "ada", "why")).bundle == older.bundle
