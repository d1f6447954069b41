from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from sidecar.adapters.credentials.sealed import private_files
from sidecar.adapters.credentials.sealed.private_files import (
    check_private_directory,
    discard_unfinished,
    locked,
    make_private_directory,
    read_private,
    write_private,
)
from sidecar.errors import Misconfigured


def test_what_is_written_is_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = os.umask(0o777)
    try:
        write_private(path, b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path, 10)[0] == b"1"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_only_where_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_private(path, b"1", replace=False)
    with pytest.raises(FileExistsError):
        write_private(path, b"2", replace=False)
    assert path.read_bytes() == b"1"
    write_private(path, b"3")
    assert path.read_bytes() == b"3"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700, 0o200, 0o1600])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    write_private(path, b"1")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=r"0600 or 0400|cannot be opened"):
        read_private(path, 10)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_private(path, b"1")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(Misconfigured, match="belongs to user"):
        read_private(path, 10)
    with pytest.raises(Misconfigured, match="belongs to user"):
        check_private_directory(tmp_path)


def test_links_pipes_folders_and_long_files_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_private(target, b"123")
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(Misconfigured):
        read_private(link, 10)
    assert read_private(link, 10, follow=True)[0] == b"123"
    target.chmod(0o644)
    with pytest.raises(Misconfigured):
        read_private(link, 10, follow=True)
    target.chmod(0o400)
    with pytest.raises(Misconfigured, match="longer than 2"):
        read_private(target, 2)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for other in (tmp_path / "pipe", tmp_path):
        with pytest.raises(Misconfigured, match="not a regular file"):
            read_private(other, 10)
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none", 10)


def test_a_disk_that_refuses_is_said_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    write_private(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("a", ".a.tmp", ".a.0123456789abcdeg.tmp", ".b.0123456789abcdef.tmp")]
    left = tmp_path / ".a.0123456789abcdef.tmp"
    for path in (*kept, left):
        path.touch()
    discard_unfinished(tmp_path, "a")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    discard_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept[:3])


def test_a_directory_is_ours_alone(tmp_path: Path) -> None:
    made = tmp_path / "x" / "y"
    make_private_directory(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    make_private_directory(made)
    made.chmod(0o750)
    with pytest.raises(Misconfigured, match="0750"):
        make_private_directory(made)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Misconfigured):
        make_private_directory(file)
    with pytest.raises(Misconfigured):
        check_private_directory(file)
    with pytest.raises(Misconfigured):
        check_private_directory(tmp_path / "none")


def test_two_writers_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait(10)
        with locked(tmp_path / ".lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / ".lock"):
        inside.set()
        thread.join(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_writer_that_never_gets_its_turn_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "_LOCK_SECONDS", 0.0)
    with locked(tmp_path / ".lock"), pytest.raises(Misconfigured, match="try again"), locked(tmp_path / ".lock"):
        pass
