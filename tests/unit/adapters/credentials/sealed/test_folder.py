from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.folder import BROKEN, SealedFolder, sealed_files
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.errors import Misconfigured, Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests.fakes.certificates import Authority


@pytest.fixture
def store(tmp_path: Path, key_file: Path) -> SealedFolder:
    return SealedFolder(tmp_path / "store", key_file)


def _again(store: SealedFolder) -> SealedFolder:
    return SealedFolder(store._directory, store._key_file)


def _file(store: SealedFolder, name: str = "github") -> Path:
    return store._directory / f"{name}.sealed"


async def _value(store: SealedFolder, name: str = "github") -> bytes:
    source = SealedStore(store._directory, store._key_file)
    return (await source.resolve(Reference("encrypted", name))).secret.reveal()


def _code(change: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        change()
    return refused.value.code


def test_the_list_tells_everything_but_values(store: SealedFolder) -> None:
    assert list(store.list()) == []
    store.put("github", Secret("canary-value"), "OAUTH")
    store.put("a", Secret("canary-value"))
    store.put("github", Secret("canary-other"), "OAUTH")
    entries = store.list()
    assert [(entry.id, entry.version, entry.head and entry.head.kind) for entry in entries] == [
        ("a", "1", "API_KEY"),
        ("github", "2", "OAUTH"),
    ]
    head = entries[1].head
    assert head is not None
    assert head.created <= head.updated
    assert head.created.endswith("Z")
    assert "canary" not in repr(entries)


async def test_a_deleted_credential_is_gone(store: SealedFolder) -> None:
    store.put("github", Secret("first-value"))
    assert _code(lambda: store.delete("github", "2")) == "conflict"
    store.delete("github", "1")
    assert list(store.list()) == []
    for change in (
        lambda: store.delete("github"),
        lambda: store.delete("github", "1"),
        lambda: store.store("github", Secret("other-value"), Terms(), "1"),
        lambda: store.amend("github", Terms(), "1"),
        lambda: store.entry("github"),
    ):
        assert _code(change) == "unknown_credential"


async def test_who_writes_over_another_version_changes_nothing(store: SealedFolder) -> None:
    store.put("github", Secret("first-value"))
    for expected in (None, "2", "0", BROKEN):
        assert _code(partial(store.store, "github", Secret("late-value"), Terms(), expected)) == "conflict"
    assert _code(lambda: store.amend("github", Terms(rotate_days=1), "2")) == "conflict"
    assert await _value(store) == b"first-value"
    assert store.entry("github").version == "1"


def test_terms_change_without_a_new_version_and_are_told_with_the_rest(store: SealedFolder) -> None:
    end = time.time_ns() // 1000 + 60_000_000
    before = store.store("github", Secret("first-value"), Terms(kind="OAUTH", expires=end, rotate_days=30), None)
    assert (before.ends, before.head and before.head.terms().rotate_days) == (end, 30)
    after = store.amend("github", Terms(kind="API_KEY"), "1")
    assert after.head is not None
    assert before.head is not None
    assert (after.version, after.ends, after.head.terms()) == ("1", None, Terms(kind="API_KEY"))
    assert (after.head.created, after.head.updated) == (before.head.created, before.head.updated)
    assert store.entry("github") == after


def test_terms_that_do_not_fit_the_value_change_nothing(store: SealedFolder) -> None:
    before = store.store("github", Secret("first value"), Terms(), None)
    for terms in (Terms(kind="BEARER_TOKEN"), Terms(expires=1), Terms(rotate_days=0), Terms(kind="ODD")):
        assert _code(partial(store.amend, "github", terms, "1")) == "invalid_payload"
    assert store.entry("github") == before


async def test_a_broken_credential_is_replaced_or_deleted_as_such(store: SealedFolder) -> None:
    for change in (
        lambda: store.store("github", Secret("new-value"), Terms(), BROKEN),
        lambda: store.delete("github", BROKEN),
    ):
        store.put("github", Secret("first-value"))
        _file(store).write_bytes(b"{}")
        assert store.entry("github") == ("github", None, None)
        assert _code(lambda: store.store("github", Secret("late-value"), Terms(), "1")) == "conflict"
        assert _code(lambda: store.amend("github", Terms(), BROKEN)) == "conflict"
        change()
    assert store.list() == []


def test_a_certificate_that_has_ended_is_not_stored(store: SealedFolder, tmp_path: Path) -> None:
    ended = Secret(Authority(tmp_path).client(days=-1))
    assert _code(lambda: store.store("client", ended, Terms(kind="CERTIFICATE"), None)) == "invalid_payload"
    fresh = Secret(Authority(tmp_path).client(days=2))
    entry = store.store("client", fresh, Terms(kind="CERTIFICATE"), None)
    assert entry.ends is not None


@pytest.mark.parametrize("value", [b"abc", b"", b"two\nlines", b"two\rlines", b"nul\0nul", b"x" * 65_537])
def test_a87_a_value_that_cannot_be_injected_or_scrubbed_is_refused(store: SealedFolder, value: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        store.put("github", Secret(value))
    assert value.decode() == "" or value.decode()[:3] not in str(refusal.value)
    store.put("github", Secret("first-value"))
    with pytest.raises(Refused):
        store.put("github", Secret(value))


@pytest.mark.parametrize("kind", ["BEARER_TOKEN", "SSH_KEY", "CERTIFICATE"])
def test_a_value_of_another_form_than_its_kinds_is_not_stored(store: SealedFolder, kind: Any) -> None:
    with pytest.raises(Refused) as refusal:
        store.put("github", Secret("Bearer canary"), kind)
    assert "canary" not in str(refusal.value)
    assert store.list() == []


def test_files_and_directory_are_ours_alone(store: SealedFolder) -> None:
    store.put("github", Secret("first-value"))
    assert stat.S_IMODE(store._directory.stat().st_mode) == 0o700
    for path in store._directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store._directory.chmod(0o755)
    with pytest.raises(Misconfigured, match="0755"):
        _again(store)


def test_a_damaged_file_stops_a_rotation_before_the_old_key_goes(store: SealedFolder, key_file: Path) -> None:
    store.put("a", Secret("value-of-a"))
    store.put("b", Secret("value-of-b"))
    _file(store, "b").write_bytes(b"{}")
    with pytest.raises(Misconfigured, match=r"b\.sealed does not open"):
        store.rotate_master()
    assert len(master_key.load(key_file)) == 2
    store.delete("b")
    store.rotate_master()
    assert len(master_key.load(key_file)) == 1
    assert [entry.head is not None for entry in store.list()] == [True]


class Killed(BaseException):
    """The process ends here: nothing after it runs, not even what tidies up."""


class Death:
    """Ends the process at the nth change of the file system, before or after it took place."""

    CALLS = ((os, "fsync"), (os, "link"), (os, "open"), (Path, "rename"), (Path, "unlink"))

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, *, after: bool) -> None:
        self.left, self.after = at, after
        for owner, name in self.CALLS:
            monkeypatch.setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, call: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left < 0 or (self.left == 0 and not self.after):
                raise Killed
            result = call(*args, **kwargs)
            if self.left == 0:
                raise Killed
            return result

        return called


@pytest.mark.parametrize("after", [False, True])
async def test_a_rotation_killed_at_any_step_loses_nothing_and_can_be_finished(tmp_path: Path, after: bool) -> None:
    survived = 0
    for step in range(1, 200):
        place = tmp_path / str(step)
        place.mkdir(mode=0o700)
        key_file = place / "master.key"
        master_key.create(key_file)
        store = SealedFolder(place, key_file)
        for name in ("a", "b"):
            store.put(name, Secret(f"value-of-{name}"))
        with pytest.MonkeyPatch.context() as patch:
            Death(patch, step, after=after)
            try:
                store.rotate_master()
            except Killed:
                survived += 1
            else:
                break
        later = SealedFolder(place, key_file)
        assert [await _value(later, name) for name in ("a", "b")] == [b"value-of-a", b"value-of-b"]
        later.rotate_master()
        assert len(master_key.load(key_file)) == 1
        assert [await _value(later, name) for name in ("a", "b")] == [b"value-of-a", b"value-of-b"]
        assert sorted(path.name for path in place.iterdir()) == [".lock", "a.sealed", "b.sealed", "master.key"]
    assert survived > 20


@pytest.mark.parametrize("after", [False, True])
async def test_a_put_killed_at_any_step_leaves_the_old_value_or_the_new_one(tmp_path: Path, after: bool) -> None:
    key_file = tmp_path / "master.key"
    master_key.create(key_file)
    store = SealedFolder(tmp_path / "store", key_file)
    store.put("github", Secret("value-000"))
    survived = 0
    for step in range(1, 100):
        before = await _value(_again(store))
        new = f"value-{step:03}".encode()
        with pytest.MonkeyPatch.context() as patch:
            Death(patch, step, after=after)
            try:
                _again(store).put("github", Secret(new))
            except Killed:
                survived += 1
            else:
                break
        assert await _value(_again(store)) in (before, new)
    assert survived > 4
    assert await _value(store) == new
    assert len(sealed_files(tmp_path / "store")) == 1
    assert {path.name for path in (tmp_path / "store").iterdir()} == {".lock", "github.sealed"}


def test_a_file_that_no_reference_could_name_hides_no_other(store: SealedFolder) -> None:
    store.put("github", Secret("first-value"))
    _file(store).rename(_file(store, "Git Hub"))
    store.put("gitlab", Secret("first-value"))
    assert [(entry.id, entry.version) for entry in store.list()] == [("Git Hub", BROKEN), ("gitlab", "1")]


def test_c02_a_new_master_key_breaks_nothing_for_who_read_the_old_one(store: SealedFolder) -> None:
    store.put("github", Secret("value-12345678"))
    reader = _again(store)
    store.rotate_master()
    assert [entry.version for entry in reader.list()] == ["1"]
    assert reader.entry("github").version == "1"


def test_what_is_deleted_while_the_list_is_made_hides_no_other(
    store: SealedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "github"):
        store.put(name, Secret("value-12345678"))
    there = sealed_files(store._directory)
    store.delete("a")
    monkeypatch.setattr("sidecar.adapters.credentials.sealed.folder.sealed_files", lambda _: there)
    assert [entry.id for entry in store.list()] == ["github"]


def test_a_file_that_stops_a_new_master_key_is_named(store: SealedFolder) -> None:
    store.put("github", Secret("value-12345678"))
    (store._directory / "Copy of github.sealed").write_bytes(_file(store).read_bytes())
    with pytest.raises(Misconfigured, match=r"Copy of github\.sealed"):
        store.rotate_master()
    (store._directory / "Copy of github.sealed").unlink()
    assert store.rotate_master()[1] == 1
