"""The history of a policy on a disk that is full, and in a process that is killed while it writes."""

from __future__ import annotations

import contextlib
import http.client
import threading
from functools import partial
from pathlib import Path

import pytest

from sidecar.adapters.policy.history import History, read_history
from sidecar.errors import Unavailable
from sidecar.model.activation import ACTIVATED, Activation
from tests.e2e.house import AGENT, House, comes_true
from tests.fakes import bundles as made
from tests.faults.disks import fill, in_memory

ROUNDS = 4


def entry(number: int) -> Activation:
    return Activation(
        number=number, time=number, outcome=ACTIVATED, origin="o", by="source", bundle=f"sha256:{number:064x}"
    )


@pytest.mark.needs_root
def test_a_full_disk_refuses_an_activation_and_keeps_what_there_was(tmp_path: Path) -> None:
    mount = tmp_path / "disk"
    mount.mkdir()
    with in_memory(mount, 2):
        history = History.open(mount / "state")
        history.append(entry(1), b"one")
        filler = fill(mount)
        with pytest.raises(Unavailable, match="cannot be written"):
            history.append(entry(2), b"x" * (1 << 20))
        assert history.standing.active == entry(1)
        assert read_history(mount / "state") == [entry(1)]
        filler.unlink()
        history.append(entry(2), b"two")
        assert history.archive(entry(2).bundle or "") == b"two"
        assert read_history(mount / "state") == [entry(1), entry(2)]
        history.close()


def test_a_process_killed_while_it_activates_comes_back_with_what_its_history_says(house: House) -> None:
    house.config["policy"] = {"bundle": {"directory": "none"}}
    house.write_config()
    number = 0

    def archive() -> Path:
        rule = f"package sidecar.custom\n\nallow if input.principal.id == {AGENT!r}\n# {number}\n".replace("'", '"')
        files = {".manifest": made.manifest(number), "custom.rego": rule}
        path = house.folder / f"{number}.tar"
        path.write_bytes(made.packed({name: text.encode() for name, text in files.items()}))
        return path

    def lines() -> list[Activation]:
        return read_history(house.folder / "evidence" / "policy")

    def grown(count: int) -> bool:
        return len(lines()) >= count

    for turn in range(ROUNDS):
        house.start()
        told = lines()
        assert house.status()["policy_revision"] == (told[-1].revision if told else None)
        for _ in range(3):
            number += 1
            house.admin("POST", "/v1/policy/activate", {"path": str(archive())})
        number += 1
        going = threading.Thread(target=_activate, args=(house, archive()), daemon=True)
        going.start()
        if turn % 2:  # just when the line is there, before it is acknowledged; in other turns, somewhere before
            assert comes_true(partial(grown, len(told) + 4))
        house.kill()
        going.join(30)
    house.start()
    told = lines()
    assert house.status()["policy_revision"] == told[-1].revision
    assert len(told) >= ROUNDS * 3
    assert house.operation("read").status == 200
    assert house.stop() == 0
    house.verified()


def _activate(house: House, archive: Path) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):  # killed meanwhile
        house.admin("POST", "/v1/policy/activate", {"path": str(archive)})
