from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sidecar.adapters.credentials.sealed import master_key, private_files
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.errors import Misconfigured, Refused, Unavailable
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.sealing import SealBrokenError
from tests.fakes.certificates import Authority

GITHUB = Reference("encrypted", "github")


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
    assert store.put("github", Secret("second-value")) == 2
    assert store.put("github", Secret("third-value")) == 3
    found = await store.resolve(GITHUB)
    assert (found.secret.reveal(), found.version) == (b"third-value", "3")


@pytest.mark.parametrize("kind", ["SSH_KEY", "CERTIFICATE"])
async def test_keys_and_certificates_may_have_lines(store: SealedStore, tmp_path: Path, kind: Any) -> None:
    authority = Authority(tmp_path)
    first, second = (
        made if kind == "CERTIFICATE" else made.partition(b"-----BEGIN CERT")[0]
        for made in (authority.client(), authority.client())
    )
    store.put("github", Secret(first), kind)
    store.put("github", Secret(second), kind)
    assert await _value(store) == second


async def test_a_credential_says_its_kind_and_when_it_ends_of_itself(store: SealedStore, tmp_path: Path) -> None:
    store.put("github", Secret("a-value"), "BEARER_TOKEN")
    store.put("client", Secret(Authority(tmp_path).client(days=2)), "CERTIFICATE")
    token = await store.resolve(Reference("encrypted", "github"))
    assert (token.kind, token.expires) == ("BEARER_TOKEN", None)
    certificate = await store.resolve(Reference("encrypted", "client"))
    assert certificate.kind == "CERTIFICATE"
    assert certificate.expires is not None
    assert 86_400 < certificate.expires / 1_000_000 - time.time() < 3 * 86_400


async def test_what_was_said_of_its_end_comes_with_the_value_whichever_is_earlier(
    store: SealedStore, tmp_path: Path
) -> None:
    soon = time.time_ns() // 1000 + 60_000_000
    store.store("github", Secret("a-value"), Terms(expires=soon), None)
    store.store("client", Secret(Authority(tmp_path).client(days=2)), Terms(kind="CERTIFICATE", expires=soon), None)
    for name in ("github", "client"):
        assert (await store.resolve(Reference("encrypted", name))).expires == soon
    store.amend("github", Terms(), "1")
    assert (await store.resolve(GITHUB)).expires is None


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a\0", ".a", "a" * 65, "github.sealed/"])
async def test_a_name_that_could_leave_the_directory_is_refused(store: SealedStore, name: str) -> None:
    for change in (lambda: store.put(name, Secret("a-value")), lambda: store.delete(name), lambda: store.entry(name)):
        with pytest.raises(Misconfigured):
            change()
    await _refused(store, Reference("encrypted", name))


async def test_a_file_that_others_may_write_is_refused(store: SealedStore) -> None:
    store.put("github", Secret("first-value"))
    _file(store).chmod(0o666)
    await _refused(store)
    assert store.list()[0].head is None


async def test_each_refusal_says_why(store: SealedStore, key_file: Path) -> None:
    async def why() -> str:
        (reason,) = (await _refused(store)).reasons
        assert "github" not in reason.message
        return reason.code

    assert await why() == "no_such_secret"
    store.put("github", Secret("first-value"))
    data = _file(store).read_bytes()
    _file(store).write_bytes(data.replace(b'"version":1', b'"version":2'))
    assert await why() == "seal_broken"
    _file(store).write_bytes(data)
    _file(store).chmod(0o666)
    assert await why() == "store_unreadable"
    _file(store).chmod(0o600)
    master_key.store(key_file, [master_key.generate()])
    store = _again(store)
    assert await why() == "unknown_master_key"


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
    assert store.list()[0].head is None
    with pytest.raises(Refused, match="changed meanwhile"):
        store.store("github", Secret("new-value"), Terms(), "1")
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
    monkeypatch.setattr("sidecar.adapters.credentials.sealed.store._TICK_NS", -(1 << 62))
    assert await _value(store) == b"first-value"

    def never(*_: object) -> NoReturn:
        raise AssertionError("read again")

    monkeypatch.setattr(store, "_read", never)
    assert await _value(store) == b"first-value"
    await _refused(store, Reference("vault", "github"))


async def test_a103_two_files_of_one_tick_are_told_apart(store: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.adapters.credentials.sealed.store._stamp", lambda _: (0, 0, 0, 0))
    monkeypatch.setattr("sidecar.adapters.credentials.sealed.store._TICK_NS", 1 << 62)  # however busy the machine is
    store.put("github", Secret("first-value"))
    assert await _value(store) == b"first-value"
    store.put("github", Secret("other-value"))
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
            writer.put("github", Secret(f"value-{number:03}"))
            writer.rotate_master()
        done.set()

    changing = asyncio.get_running_loop().run_in_executor(None, rotate)
    seen: list[bytes] = []
    while not done.is_set():
        seen.append(await _value(store))
    await changing
    assert await _value(store) == b"value-011"
    assert seen == sorted(seen)


async def test_c02_a_master_key_that_is_rotated_between_file_and_key_fails_no_call(
    store: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "github"):
        store.put(name, Secret("value-12345678"))
    source = _again(store)
    read: Any = private_files.read_private
    there = "sidecar.adapters.credentials.sealed.folder.read_private"

    def slowly(path: Path, limit: int, **options: bool) -> Any:
        """By the time that the bytes are looked at, the master key is another one, and others know it already."""
        data = read(path, limit, **options)
        monkeypatch.setattr(there, read)
        store.rotate_master()
        source._keys = master_key.load(source._key_file)
        return data

    monkeypatch.setattr(there, slowly)
    assert await _value(source) == b"value-12345678"


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
    assert [entry.head for entry in late.list()] == [None] * 5


def test_a_store_without_its_key_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="new-key"):
        SealedStore(tmp_path, tmp_path / "none")


async def test_a_store_that_is_not_there_yet_resolves_and_deletes_nothing(store: SealedStore) -> None:
    await _refused(store)
    assert store.list() == []
    for change in (lambda: store.delete("github"), lambda: store.amend("github", Terms(), "1")):
        with pytest.raises(Refused) as refused:
            change()
        assert refused.value.code == "unknown_credential"
