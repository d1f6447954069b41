"""Callers that leave, too many of them, too few descriptors, a log nobody reads, a process that was stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.model.evidence import OUTCOME
from tests.e2e.far import Far, Held
from tests.e2e.house import AGENT, WAIT, House, comes_true, environment
from tests.e2e.load import Load, paused

PATH = "/v1/connectors/up/operations/write"


def test_a_caller_that_leaves_still_has_its_outcome_recorded(house: House, far: Far) -> None:
    house.start()
    held = far.behave = Held()
    connection = http.client.HTTPConnection("127.0.0.1", house.ports["access"], timeout=WAIT)
    headers = {**house.headers(AGENT), "Content-Type": "application/json"}
    connection.request("POST", PATH, json.dumps({"parameters": {"topic": "left"}}), headers)
    assert comes_true(lambda: held.waiting == 1)
    connection.close()
    held.release()
    assert comes_true(lambda: [leaf.kind for leaf in house.leaves()][-1:] == [OUTCOME])
    (outcome,) = (leaf for leaf in house.leaves() if leaf.kind == OUTCOME)
    assert outcome.result is not None
    assert outcome.result.status == 200
    assert house.stop() == 0
    assert house.verified().unknown == []


def test_more_calls_than_may_be_in_flight_are_told_to_come_back(house: House, far: Far) -> None:
    house.config["limits"] = {"in_flight": 4}
    house.write_config()
    house.start()
    held = far.behave = Held()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(house.operation, "write") for _ in range(4)]
        assert comes_true(lambda: held.waiting == 4)
        refused = house.operation("write")
        assert (refused.status, refused.code) == (429, "too_many_in_flight")
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.evidence_id is not None
        held.release()
        assert {call.result().status for call in calls} == {200}
    assert house.operation("write").status == 200
    assert len(far.seen) == 5


def test_more_connections_than_allowed_are_told_so_and_the_open_ones_work_on(house: House) -> None:
    house.config["limits"] = {"connections": 4}
    house.write_config()
    house.start()
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(socket.create_connection(("127.0.0.1", house.ports["access"]), WAIT))
        assert comes_true(lambda: house.metric("sidecar_connections", door="access") == 4)
        refused = house.operation("read")
        assert (refused.status, refused.code) == (503, "overloaded")
    assert comes_true(lambda: house.operation("read").status == 200)


@pytest.mark.needs_prlimit
def test_a_process_without_descriptors_sheds_and_lives_on(house: House, far: Far) -> None:  # L08
    house.start(["prlimit", "--nofile=96:96"])
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", house.ports["access"]), WAIT))
        paused(1.0)
        assert house.process is not None
        assert house.process.poll() is None
        before = cpu_seconds(house)
        paused(1.0)
        assert cpu_seconds(house) - before < 0.8  # it waits for descriptors, and does not spin
    assert comes_true(lambda: is_served(house))
    assert len(far.seen) == 1
    assert house.stop() == 0
    assert house.verified().unknown == []


def is_served(house: House) -> bool:
    """Whether a call goes through; a connection shed before it could ask is a no."""
    try:
        return house.operation("write").status == 200
    except ConnectionResetError:
        return False


def cpu_seconds(house: House) -> float:
    assert house.process is not None
    fields = Path(f"/proc/{house.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_log_that_nobody_reads_stops_no_call(house: House) -> None:
    ready = house.folder / "ready"
    command = [sys.executable, "-m", "sidecar", "run", "--ready-file", str(ready)]
    house.process = subprocess.Popen(
        command, cwd=house.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert house.process.stdout is not None
    with house.process.stdout:
        house.await_ready()
        for _ in range(400):  # more lines than a pipe holds
            assert house.operation("remove").status == 403
        started = time.monotonic()
        assert house.stop() == 0
        assert time.monotonic() - started < 10
    assert house.verified().records == 400


def test_a_process_that_was_stopped_for_a_while_goes_on(house: House) -> None:  # L11
    house.start()
    load = Load(house, "stopped", clients=8)
    load.start()
    paused(0.3)
    house.signal(signal.SIGSTOP)
    paused(3.0)  # longer than a disk may hang
    before = len(load.acknowledged)
    house.signal(signal.SIGCONT)
    assert comes_true(lambda: len(load.acknowledged) > before + 200)
    load.stop()
    assert load.broken == []
    codes = {answer.code for _, answer in load.acknowledged}
    assert codes <= {None, "evidence_unavailable", "policy_unavailable"}
    assert house.operation("write").status == 200
    assert house.stop() == 0
    assert house.verified().unknown == []


def test_a_storm_of_reloads_stops_no_call(house: House) -> None:
    house.start()
    load = Load(house, "storm", clients=4)
    load.start()
    for _ in range(200):
        house.signal(signal.SIGHUP)
        paused(0.005)
    load.stop()
    assert load.broken == []
    assert {answer.code for _, answer in load.acknowledged} <= {None, "policy_unavailable"}
    assert house.operation("write").status == 200
    assert house.stop() == 0
    assert {line["outcome"] for line in house.events("reload")} == {"loaded"}
