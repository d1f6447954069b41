from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.history import KEPT, History, read_history
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.activation import ACTIVATED, REFUSED, Activation
from tests.evidence import steps_to_the_disk


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def entry(number: int, bundle: int | None = None, outcome: str = ACTIVATED) -> Activation:
    return Activation(
        number=number, time=number, outcome=outcome, origin="o", by="source", sequence=number,
        bundle=digest(number if bundle is None else bundle), revision=digest(0),
    )  # fmt: skip


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History.open(tmp_path / "state")
    yield opened
    opened.close()


def again(history: History, folder: Path) -> History:
    history.close()
    return History.open(folder / "state")


def test_what_was_appended_is_there_after_a_restart(history: History, tmp_path: Path) -> None:
    history.append(entry(1), b"one")
    history.append(entry(2, outcome=REFUSED))
    history.append(entry(3), b"three")
    fresh = again(history, tmp_path)
    assert fresh.entries == [entry(1), entry(2, outcome=REFUSED), entry(3)]
    assert fresh.standing.active == entry(3)
    assert (fresh.archive(digest(1)), fresh.archive(digest(3))) == (b"one", b"three")
    assert read_history(tmp_path / "state") == fresh.entries
    fresh.close()


def test_an_activation_is_durable_before_it_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could take the highest sequence away, and an old bundle would come back by itself (P03)."""
    done = steps_to_the_disk(monkeypatch)
    opened = History.open(tmp_path / "state")
    assert done == ["fsync"]  # the history's name
    opened.append(entry(1), b"one")
    assert done[1:] == ["fsync", "replace", "fsync", "fdatasync"]  # the bundle, its name, and the line after both
    opened.close()


def test_the_folder_and_its_files_are_the_owners_alone(history: History, tmp_path: Path) -> None:
    history.append(entry(1), b"one")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*")}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600, 0o700}


def test_the_last_few_bundles_are_kept(history: History) -> None:
    for number in range(1, KEPT + 3):
        history.append(entry(number), b"x")
    assert [kept.sequence for kept in history.kept()] == list(range(KEPT + 2, 2, -1))
    with pytest.raises(Misconfigured, match="is not kept"):
        history.archive(digest(1))


def test_a_bundle_that_is_activated_again_is_kept_once_and_anew(history: History) -> None:
    for number, bundle in enumerate([1, 2, 3, 1], 1):
        history.append(entry(number, bundle), b"x")
    assert [kept.bundle for kept in history.kept()] == [digest(1), digest(3), digest(2)]


def test_a_line_that_a_crash_cut_off_is_taken_away(history: History, tmp_path: Path) -> None:
    history.append(entry(1), b"one")
    file = tmp_path / "state" / "history.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:20])
    fresh = again(history, tmp_path)
    assert fresh.entries == [entry(1)]
    fresh.append(entry(2), b"two")
    assert file.read_bytes().startswith(whole)
    assert len(read_history(tmp_path / "state")) == 2
    fresh.close()


@pytest.mark.parametrize(
    ("line", "damaged"),
    [
        (1, b"{}\n"),
        (2, b"not json\n"),
        (2, b"\n"),
        (2, b'{"number":2,"time":1,"outcome":"activated","origin":"\xff","by":"source"}\n'),
        (1, b'{"number":9,"time":1,"outcome":"activated","origin":"o","by":"source"}\n'),
        (2, b'{"number":"2","time":1,"outcome":"activated","origin":"o","by":"source"}\n'),
    ],
)
def test_a_damaged_history_refuses_with_its_line_and_the_next_step(
    history: History, tmp_path: Path, line: int, damaged: bytes
) -> None:
    history.append(entry(1), b"one")
    history.append(entry(2), b"two")
    file = tmp_path / "state" / "history.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[line - 1] = damaged
    file.write_bytes(b"".join(lines))
    with pytest.raises(Misconfigured, match=rf"history.jsonl:{line}: .*damaged.*Restore it") as caught:
        again(history, tmp_path)
    assert caught.value.code == "history_damaged"


def test_a_line_that_was_taken_out_is_noticed(history: History, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        history.append(entry(number), b"x")
    file = tmp_path / "state" / "history.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[2])
    with pytest.raises(Misconfigured, match="numbered 3"):
        again(history, tmp_path)


def test_two_processes_do_not_write_one_history(history: History, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="in use by another sidecar"):
        History.open(tmp_path / "state")


def test_a_disk_that_refuses_leaves_the_history_as_it_was(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append(entry(1), b"one")

    def full(descriptor: int, _: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="No space left"):
            history.append(entry(2), b"two")
    assert history.standing.active == entry(1)
    history.append(entry(2, bundle=3), b"three")
    assert len(list((tmp_path / "state" / "bundles").iterdir())) == 2
    assert read_history(tmp_path / "state") == [entry(1), entry(2, bundle=3)]


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        History.open(tmp_path / "file" / "state")


def test_nothing_is_written_once_it_is_closed(history: History) -> None:
    history.close()
    with pytest.raises(Unavailable, match="Restart"):
        history.append(entry(1), b"one")


def test_where_there_is_none_the_command_line_reads_nothing(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []


def test_only_a_digest_names_a_kept_bundle(history: History) -> None:
    with pytest.raises(Misconfigured):
        history.archive("../../etc/passwd")
