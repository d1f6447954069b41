"""System calls on evidence files, and what their failures mean."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidecar.adapters.evidence import disk
from sidecar.adapters.evidence.disk import Reserve, SyncFailedError
from sidecar.errors import Misconfigured
from tests.evidence import steps_to_the_disk


def test_short_writes_are_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[:3], offset))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    disk.write_all(descriptor, b"0123456789", 5)
    os.close(descriptor)
    assert path.read_bytes() == bytes(5) + b"0123456789"


def test_a_disk_that_takes_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    with pytest.raises(OSError, match="took no bytes"):
        disk.write_all(-1, b"x", 0)


def test_a_failed_sync_is_its_own_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(SyncFailedError, match="Input/output"):
        disk.sync(0)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SyncFailedError, match="Input/output"):
        disk.sync_directory(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    disk.replace_file(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o600

    def full(_descriptor: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        disk.replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_replaced_file_is_durable_before_its_name_and_its_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave an empty file under the name, or bring the old one back."""
    done = steps_to_the_disk(monkeypatch)
    disk.replace_file(tmp_path / "checkpoint", b"new")
    assert done == ["fdatasync", "replace", "fsync"]


def test_the_lock_is_for_one(tmp_path: Path) -> None:
    held = disk.lock(tmp_path)
    with pytest.raises(Misconfigured, match="another process writes"):
        disk.lock(tmp_path)
    os.close(held)
    os.close(disk.lock(tmp_path))


def test_the_reserve_holds_real_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 1 << 16)
    assert not reserve.held()
    reserve.take()
    assert reserve.held()
    assert (tmp_path / "reserve").stat().st_size == 1 << 16
    reserve.take()
    reserve.release()
    reserve.release()
    assert not reserve.held()


def test_no_reserve_is_taken_where_there_is_no_room_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room_for_one(_descriptor: int, _offset: int, length: int) -> None:
        if length > 1 << 16:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", room_for_one)
    with pytest.raises(OSError, match="No space"):
        Reserve(tmp_path, 1 << 16).take()
    assert list(tmp_path.iterdir()) == []
