from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sidecar.adapters.credentials import master_key
from sidecar.adapters.credentials.sealed import SealedStore, sealed_files
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Reference
from sidecar.model.secret import Secret
from sidecar.rules.sealing import SealBrokenError
from tests.fakes.certificates import Authority

GITHUB = Reference("encrypted", "github")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    master_key.create(path)
    return path


@pytest.fixture
def store(tmp_path: Path, key_file: Path) -> SealedStore:
    return SealedStore(tmp_path / "store", key_file)


def _again(store: SealedStore) -> SealedStore:
    return SealedStore(store._directory, store._key_file)


def _file(store: SealedStore, name: str = "github") -> Path:
    return store._directory / f"{name}.sealed"


async def _value(store: SealedStore, name: str = "github") -> bytes:
    return (await store.resolve(Reference("encrypted", name))).secret.reveal()


async def _refused(store: SealedStore, reference: Reference = GITHUB) -> Unavailable:
    with pytest.raises(Unavailable) as refusal:
        await store.resolve(reference)
    assert refusal.value.code == "credential_unavailable"
    return refusal.value


async def test_versions_count_puts_and_rotations(store: SealedStore) -> None:
    assert store.put("github", Secret("first-value"), "OAUTH") == 1
    assert store.rotate("github", Secret("second-value")) == 2
    assert store.put("github", Secret("third-value")) == 3
    found = await store.resolve(GITHUB)
    assert (found.secret.reveal(), found.version) == (b"third-value", "3")


def test_the_list_tells_everything_but_values(store: SealedStore) -> None:
    assert list(store.list()) == []
    store.put("github", Secret("canary-value"), "OAUTH")
    store.put("a", Secret("canary-value"))
    store.rotate("github", Secret("canary-other"))
    entries = store.list()
    assert [(entry.id, entry.about and (entry.about.kind, entry.about.version)) for entry in entries] == [
        ("a", ("API_KEY", 1)),
        ("github", ("OAUTH", 2)),
    ]
    about = entries[1].about
    assert about is not None
    assert about.created <= about.updated
    assert about.created.endswith("Z")
    assert "canary" not in repr(entries)


async def test_a_deleted_credential_is_gone(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    store.delete("github")
    assert list(store.list()) == []
    await _refused(store)
    for change in (store.delete, lambda name: store.rotate(name, Secret("other-value"))):
        with pytest.raises(Misconfigured, match="no credential github"):
            change("github")


@pytest.mark.parametrize("value", [b"abc", b"", b"two\nlines", b"two\rlines", b"nul\0nul", b"x" * 65_537])
def test_a87_a_value_that_cannot_be_injected_or_scrubbed_is_refused(store: SealedStore, value: bytes) -> None:
    with pytest.raises(Misconfigured) as refusal:
        store.put("github", Secret(value))
    assert value.decode() == "" or value.decode()[:3] not in str(refusal.value)
    store.put("github", Secret("first-value"))
    with pytest.raises(Misconfigured):
        store.rotate("github", Secret(value))


@pytest.mark.parametrize("kind", ["SSH_KEY", "CERTIFICATE"])
async def test_keys_and_certificates_may_have_lines(store: SealedStore, tmp_path: Path, kind: Any) -> None:
    authority = Authority(tmp_path)
    first, second = (
        made if kind == "CERTIFICATE" else made.partition(b"-----BEGIN CERT")[0]
        for made in (authority.client(), authority.client())
    )
    store.put("github", Secret(first), kind)
    store.rotate("github", Secret(second))
    assert await _value(store) == second


async def test_a_credential_says_its_kind_and_when_it_ends_of_itself(store: SealedStore, tmp_path: Path) -> None:
    store.put("github", Secret("a-value"), "BEARER_TOKEN")
    store.put("client", Secret(Authority(tmp_path).client(days=-1)), "CERTIFICATE")
    token = await store.resolve(Reference("encrypted", "github"))
    assert (token.kind, token.expires) == ("BEARER_TOKEN", None)
    certificate = await store.resolve(Reference("encrypted", "client"))
    assert certificate.kind == "CERTIFICATE"
    assert certificate.expires is not None
    assert certificate.expires < time.time() * 1_000_000


@pytest.mark.parametrize("kind", ["BEARER_TOKEN", "SSH_KEY", "CERTIFICATE"])
def test_a_value_of_another_form_than_its_kinds_is_not_stored(store: SealedStore, kind: Any) -> None:
    with pytest.raises(Misconfigured) as refusal:
        store.put("github", Secret("Bearer canary"), kind)
    assert "canary" not in str(refusal.value)
    assert store.list() == []


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a\0", ".a", "a" * 65, "github.sealed/"])
async def test_a_name_that_could_leave_the_directory_is_refused(store: SealedStore, name: str) -> None:
    for change in (lambda: store.put(name, Secret("a-value")), lambda: store.delete(name)):
        with pytest.raises(Misconfigured):
            change()
    await _refused(store, Reference("encrypted", name))


def test_files_and_directory_are_ours_alone(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    assert stat.S_IMODE(store._directory.stat().st_mode) == 0o700
    for path in store._directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store._directory.chmod(0o755)
    with pytest.raises(Misconfigured, match="0755"):
        _again(store)


async def test_a_file_that_others_may_write_is_refused(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    _file(store).chmod(0o666)
    await _refused(store)
    assert store.list()[0].about is None


async def test_a_link_to_another_sealed_file_is_refused(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    _file(store, "gitlab").symlink_to(_file(store))
    await _refused(store, Reference("encrypted", "gitlab"))


async def test_a_swapped_file_is_refused(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    store.put("gitlab", Secret("other-value"))
    assert await _value(store) == b"first-value"
    _file(store, "gitlab").rename(_file(store))
    refusal = await _refused(store)
    assert isinstance(refusal.__cause__, SealBrokenError)
    assert store.list()[0].about is None
    with pytest.raises(Misconfigured, match="Delete it"):
        store.rotate("github", Secret("new-value"))
    store.delete("github")
    store.put("github", Secret("new-value"))
    assert await _value(store) == b"new-value"


async def test_a_file_changed_in_place_is_noticed_at_the_next_call(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    assert await _value(store) == b"first-value"
    data = bytearray(_file(store).read_bytes())
    data[-10] ^= 1
    _file(store).write_bytes(data)
    await _refused(store)


async def test_an_unchanged_file_is_read_once(store: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("github", Secret("first-value"))
    path = _file(store)
    os.utime(path)
    monkeypatch.setattr("sidecar.adapters.credentials.sealed._TICK_NS", -(1 << 62))
    assert await _value(store) == b"first-value"

    def never(*_: object) -> NoReturn:
        raise AssertionError("read again")

    monkeypatch.setattr(store, "_read", never)
    assert await _value(store) == b"first-value"
    await _refused(store, Reference("vault", "github"))


async def test_a103_two_files_of_one_tick_are_told_apart(store: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.adapters.credentials.sealed._stamp", lambda _: (0, 0, 0, 0))
    store.put("github", Secret("first-value"))
    assert await _value(store) == b"first-value"
    store.rotate("github", Secret("other-value"))
    assert await _value(store) == b"other-value"


async def test_inv_5_between_calls_only_ciphertext_is_kept(store: SealedStore) -> None:
    store.put("github", Secret("canary-value"))
    await store.resolve(GITHUB)
    opened = store._opened["github"]
    kept = [getattr(opened.opener, name) for name in opened.opener.__slots__] + list(opened)
    assert all(b"canary" not in part for part in kept if isinstance(part, bytes))
    assert "canary" not in repr(kept)


async def test_c02_rotation_of_value_and_master_key_fails_no_call(store: SealedStore) -> None:
    writer = _again(store)
    writer.put("github", Secret("value-000"))
    done = threading.Event()

    def rotate() -> None:
        for number in range(1, 12):
            writer.rotate("github", Secret(f"value-{number:03}"))
            writer.rotate_master()
        done.set()

    changing = asyncio.get_running_loop().run_in_executor(None, rotate)
    seen: list[bytes] = []
    while not done.is_set():
        seen.append(await _value(store))
    await changing
    assert await _value(store) == b"value-011"
    assert seen == sorted(seen)


async def test_a_new_master_key_opens_everything_and_the_old_one_nothing(store: SealedStore, key_file: Path) -> None:
    names = [f"name-{number}" for number in range(5)]
    for name in names:
        store.put(name, Secret(f"value-of-{name}"))
    old = master_key.load(key_file)
    key, count = _again(store).rotate_master()
    assert count == 5
    assert [known.id for known in master_key.load(key_file)] == [key]
    for holder in (store, _again(store)):
        assert [await _value(holder, name) for name in names] == [f"value-of-{name}".encode() for name in names]
    master_key.store(key_file, old)
    late = _again(store)
    await _refused(late, Reference("encrypted", "name-0"))
    assert [entry.about for entry in late.list()] == [None] * 5


def test_a_damaged_file_stops_a_rotation_before_the_old_key_goes(store: SealedStore, key_file: Path) -> None:
    store.put("a", Secret("value-of-a"))
    store.put("b", Secret("value-of-b"))
    _file(store, "b").write_bytes(b"{}")
    with pytest.raises(Misconfigured, match="credential b"):
        store.rotate_master()
    assert len(master_key.load(key_file)) == 2
    store.delete("b")
    store.rotate_master()
    assert len(master_key.load(key_file)) == 1
    assert [entry.about is not None for entry in store.list()] == [True]


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
        store = SealedStore(place, key_file)
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
        later = SealedStore(place, key_file)
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
    store = SealedStore(tmp_path / "store", key_file)
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


def test_a_store_without_its_key_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="new-key"):
        SealedStore(tmp_path, tmp_path / "none")


async def test_a_store_that_is_not_there_yet_resolves_and_deletes_nothing(store: SealedStore) -> None:
    await _refused(store)
    with pytest.raises(Misconfigured, match="no credential store"):
        store.delete("github")
    with pytest.raises(Misconfigured, match="no credential store"):
        store.rotate("github", Secret("a-value"))
