"""The evidence's disk fills up, hangs or breaks under a whole process: nothing is let through unrecorded."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.far import Far, Held
from tests.e2e.house import AGENT, WAIT, Answer, House, comes_true
from tests.faults import disks
from tests.faults.disks import fill, run

CALLS = 10
# A loop that waits for the disk lags by the injected half second or more; here other tests run beside.
LAG = 0.25
WATCHDOG = 2.0  # seconds, after which a sync counts as hung


@pytest.fixture
def disk(house: House) -> Iterator[Path]:
    """Where the evidence is kept: a file system of eight megabytes."""
    mount = house.folder / "evidence"
    mount.mkdir(mode=0o700)
    house.config["evidence"] = {"reserve_bytes": 1 << 20}
    house.write_config()
    with disks.in_memory(mount, 8):
        yield mount
        house.kill()


@pytest.fixture
def journalled(house: House, tmp_path: Path) -> Iterator[Path]:
    """The same on a journalled file system, on a loop device."""
    image, mount = tmp_path / "image", house.folder / "evidence"
    mount.mkdir(mode=0o700)
    with disks.journalled(mount, image):
        (mount / "lost+found").rmdir()
        mount.chmod(0o700)
        yield mount
        house.kill()


def check_unrecorded(refused: Answer) -> None:
    assert (refused.status, refused.code) == (503, "evidence_unavailable"), refused.body
    assert refused.document["evidence_id"] is None
    assert refused.evidence_id is None


def check_closed_to_calls(house: House, far: Far) -> None:
    """Nothing is let through, whoever asks, and the probes say so."""
    assert comes_true(lambda: house.operation("remove").status == 503)  # a last page may still have had room
    before = len(far.seen)
    for at in range(CALLS):
        check_unrecorded(house.operation("write", call=f"refused-{at}"))
    check_unrecorded(house.operation("remove"))
    check_unrecorded(house.operation("write", key=None))
    assert len(far.seen) == before
    ready = house.probe("/readyz")
    assert (ready.status, ready.document["not_ready"]) == (503, ["evidence"])
    assert comes_true(lambda: house.metric("sidecar_evidence_writable") == 0)
    assert house.probe("/livez").status == 200


@pytest.mark.needs_root
def test_a_full_disk_refuses_and_opens_again_by_itself(house: House, far: Far, disk: Path) -> None:  # E05
    house.start()
    assert house.operation("write").status == 200
    filler = fill(disk)
    check_closed_to_calls(house, far)
    filler.unlink()
    assert comes_true(lambda: house.probe("/readyz").status == 200)
    assert house.operation("write", call="after").status == 200
    assert far.seen[-1].headers["x-call"] == "after"
    assert house.stop() == 0
    report = house.verified()
    assert report.unknown == []
    assert report.checkpoint_size == report.records


@pytest.mark.needs_root
def test_calls_in_flight_when_the_disk_fills_still_get_their_outcome(
    house: House, far: Far, disk: Path
) -> None:  # E05
    house.start()
    held = far.behave = Held()
    with ThreadPoolExecutor(CALLS) as pool:
        calls = [pool.submit(house.operation, "write", call=f"held-{at}") for at in range(CALLS)]
        assert comes_true(lambda: held.waiting == CALLS)
        filler = fill(disk)
        check_closed_to_calls(house, far)
        held.release()
        answers = [call.result() for call in calls]
    assert {answer.status for answer in answers} == {200}
    assert house.stop() == 0  # still full: the outcomes lie in what was kept for them
    assert house.verified().unknown == []
    filler.unlink()
    house.start()
    assert house.operation("write").status == 200
    for answer in answers:
        assert house.evidence(answer.evidence_id).document["kind"] == "outcome"


@pytest.mark.needs_root
def test_a_disk_that_turns_read_only_refuses_until_a_restart(house: House, far: Far, journalled: Path) -> None:  # E09
    house.start()
    answers = [house.operation("write", call=f"kept-{at}") for at in range(CALLS)]
    assert {answer.status for answer in answers} == {200}
    # What a kernel does with a file system it no longer trusts: files stay open, every write fails.
    subprocess.run(["mount", "-o", "remount,abort", str(journalled)], check=False, capture_output=True, timeout=WAIT)
    check_closed_to_calls(house, far)
    house.kill()
    run("umount", journalled)
    run("mount", "-o", "loop", journalled.parents[0] / "image", journalled)
    house.start()
    for answer in answers:
        assert house.evidence(answer.evidence_id).document["kind"] == "outcome"
    assert house.operation("write").status == 200
    assert house.stop() == 0
    house.verified()


def strace(injection: str) -> list[str]:
    """The tracer as a grandchild, so that the sidecar stays our own child."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", "trace=fdatasync", "-e", injection]


@pytest.mark.needs_strace
def test_a_slow_disk_makes_calls_slow_and_nothing_else(house: House) -> None:  # E08
    house.start(strace("inject=fdatasync:delay_enter=500ms:when=20..40"))
    slowest = 0.0
    probed = 0.0
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            started = time.monotonic()
            calls = [pool.submit(house.operation, "write") for _ in range(16)]
            probing = time.monotonic()
            assert house.probe("/livez").status == 200
            probed = max(probed, time.monotonic() - probing)
            assert {call.result().status for call in calls} == {200}
            slowest = max(slowest, time.monotonic() - started)
    assert slowest > 0.5
    assert probed < 0.5
    lag = house.metric("sidecar_loop_lag_seconds")
    assert lag is not None
    assert lag < LAG
    assert house.stop() == 0
    assert house.verified().unknown == []


@pytest.mark.needs_strace
def test_a_hung_disk_is_a_refusal_after_two_seconds(house: House, far: Far) -> None:  # E08
    house.start(strace("inject=fdatasync:delay_enter=5s:when=12"))
    refused = None
    for _ in range(20):
        started = time.monotonic()
        answer = house.operation("write")
        if answer.status != 200:
            refused = answer
            break
    assert refused is not None
    check_unrecorded(refused)
    assert WATCHDOG * 0.8 < time.monotonic() - started < WATCHDOG + 2
    assert house.probe("/readyz").document["not_ready"] == ["evidence"]
    assert comes_true(lambda: house.probe("/readyz").status == 200)
    assert house.operation("write", key=AGENT).status == 200
    lag = house.metric("sidecar_loop_lag_seconds")
    assert lag is not None
    assert lag < LAG
    assert house.stop() == 0
    house.verified()
    intents = [leaf for leaf in house.leaves() if leaf.kind == "intent"]
    assert len(far.seen) <= len(intents)
