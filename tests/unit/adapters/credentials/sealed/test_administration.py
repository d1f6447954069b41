from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.credentials.sealed import master_key, private_files
from sidecar.adapters.credentials.sealed.administration import SealedCredentials
from sidecar.adapters.credentials.sealed.folder import SealedFolder
from sidecar.errors import Misconfigured, Refused, Unavailable
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret

GITHUB = Reference("encrypted", "github")


@pytest.fixture
def store(tmp_path: Path) -> SealedCredentials:
    master_key.create(tmp_path / "master.key")
    return SealedCredentials(tmp_path / "store", tmp_path / "master.key")


@pytest.mark.parametrize(
    "reference",
    [
        Reference("vault", "github", "token"),
        Reference("encrypted", "../github"),
        Reference("encrypted", "github", "token"),
        Reference("encrypted", "github", None, "1"),
    ],
)
async def test_what_cannot_be_a_sealed_credential_is_refused_before_the_folder_is_looked_at(
    tmp_path: Path, reference: Reference
) -> None:
    store = SealedCredentials(tmp_path / "none", tmp_path / "none.key")
    with pytest.raises(Refused) as refused:
        await store.about(reference)
    assert refused.value.code == "invalid_payload"


async def test_a_master_key_that_is_missing_is_told_to_who_runs_the_machine_only(tmp_path: Path) -> None:
    store = SealedCredentials(tmp_path / "none", tmp_path / "none.key")
    with pytest.raises(Unavailable) as refused:
        await store.list()
    assert (refused.value.code, refused.value.reasons[0].code) == ("store_unavailable", "store_misconfigured")
    assert str(tmp_path) not in f"{refused.value} {refused.value.reasons}"
    assert isinstance(refused.value.__cause__, Misconfigured)
    assert str(tmp_path / "none.key") in refused.value.__cause__.detail


async def test_a_folder_that_others_may_look_into_is_not_written_to(store: SealedCredentials, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o755)
    with pytest.raises(Unavailable):
        await store.store(GITHUB, Secret("value-12345678"), Terms(), None)
    assert list((tmp_path / "store").iterdir()) == []


async def test_a_broken_credential_is_shown_as_such_and_stored_anew(store: SealedCredentials, tmp_path: Path) -> None:
    await store.store(GITHUB, Secret("value-12345678"), Terms(), None)
    (tmp_path / "store" / "github.sealed").write_bytes(b"{}")
    broken = About(reference=GITHUB, kind=None, version="broken", state="broken")
    assert list(await store.list()) == [broken]
    with pytest.raises(Refused, match="does not open"):
        await store.amend(GITHUB, Terms(), "broken")
    about = await store.store(GITHUB, Secret("value-87654321"), Terms(), "broken")
    assert (about.state, about.version) == ("ok", "1")


async def test_changes_are_made_one_at_a_time_so_that_calls_keep_their_threads(
    store: SealedCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, most = 0, 0
    write = SealedFolder.store

    def counted(*given: Any) -> Any:
        nonlocal going, most
        going += 1
        most = max(most, going)
        try:
            return write(*given)
        finally:
            going -= 1

    monkeypatch.setattr(SealedFolder, "store", counted)
    names = [Reference("encrypted", f"name-{number}") for number in range(8)]
    await asyncio.gather(*(store.store(name, Secret("value-12345678"), Terms(), None) for name in names))
    assert most == 1
    assert len(await store.list()) == 8


async def test_a_change_while_another_goes_on_is_told_to_try_again(
    store: SealedCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_files, "_LOCK_SECONDS", 0.0)
    await store.store(GITHUB, Secret("value-12345678"), Terms(), None)
    with private_files.locked(tmp_path / "store" / ".lock"), pytest.raises(Unavailable) as refused:
        await store.delete(GITHUB, "1")
    assert (refused.value.code, refused.value.reasons[0].code) == ("store_unavailable", "store_busy")


async def test_a_lock_that_cannot_be_and_a_disk_that_refuses_are_told_to_who_runs_the_machine(
    store: SealedCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.store(GITHUB, Secret("value-12345678"), Terms(), None)

    async def cause() -> str:
        with pytest.raises(Unavailable) as refused:
            await store.delete(GITHUB, "1")
        assert refused.value.reasons[0].code == "store_misconfigured"
        assert isinstance(refused.value.__cause__, Misconfigured)
        return refused.value.__cause__.detail

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        assert "cannot be deleted: Read-only" in await cause()
    (tmp_path / "store" / ".lock").unlink()
    (tmp_path / "store" / ".lock").symlink_to("elsewhere")
    assert ".lock cannot be opened" in await cause()
