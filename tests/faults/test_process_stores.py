"""A whole sidecar before a store of credentials whose network fails: refused with a reason, recovered without help.

Each fault meets a secret that was never asked for, so that nothing held can hide it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.house import Answer, comes_true
from tests.e2e.secure import found
from tests.e2e.stores import AGE, BOTH, SECRET, Stored, stored
from tests.toxiproxy import (
    Toxic,
    bandwidth,
    cut_after,
    hung_up,
    in_slices,
    latency,
    reset,
    slow_close,
    swallowed,
)

SECOND = "second-1fc04ab977"
CALLS = 200


class Fault(NamedTuple):
    """What the network does. ``reasons`` of the refusal; none where the secret comes all the same."""

    toxics: tuple[Toxic, ...]
    reasons: frozenset[str] = frozenset()


_SLOW, _GONE = frozenset({"store_slow"}), frozenset({"store_unreachable"})
FAULTS = {
    "late within the bound": Fault((latency(200),)),
    "late and uneven": Fault((latency(200, jitter=150),)),
    "late past the bound": Fault((latency(2500),), _SLOW),
    "a narrow line": Fault((bandwidth(2),)),
    "a partition before the answer": Fault((swallowed(),), _SLOW | _GONE),  # moto hangs up once it has answered
    "a partition before the request": Fault((swallowed("upstream"),), _SLOW),
    "silence, then an end": Fault((hung_up(100),), _GONE),
    "a reset at the answer": Fault((reset(),), _GONE),
    "a reset at the request": Fault((reset("upstream"),), _GONE),
    "an answer cut in its head": Fault((cut_after(20),), frozenset({"store_failing"})),
    "an answer cut in its body": Fault((cut_after(500),), _GONE | {"store_failing"}),
    "connections that close late": Fault((slow_close(3000),)),
    "a trickle": Fault((in_slices(1, 300_000),), _SLOW),
}


@pytest.fixture(scope="module", params=BOTH)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with stored(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture
def between(shared: Stored) -> Iterator[Stored]:
    """``shared``, whose network is whole again afterwards."""
    yield shared
    shared.between.up()
    shared.between.clear()


def check_refusal(it: Stored, refused: Answer, reasons: frozenset[str]) -> None:
    """Its code, its reason, its evidence, and nothing that an agent must not see."""
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    (reason,) = refused.document["reasons"]
    assert reason["code"] in reasons
    assert reason["message"].endswith(".")
    record = it.house.evidence(refused.evidence_id).document
    assert record["code"] == "credential_unavailable"
    told = refused.body + str(refused.headers).encode() + str(record).encode()
    assert found(SECRET, {"told": told}) == []
    for inner in (str(it.between.port), str(it.store.port), "hvs.", "127.0.0.1", "HTTPConnectionPool"):
        assert inner.encode() not in refused.body


@pytest.mark.parametrize("name", FAULTS)
def test_c01_each_fault_of_the_network_has_its_reason_and_passes_without_help(between: Stored, name: str) -> None:
    fault, it = FAULTS[name], between
    it.another()
    it.between.put(*fault.toxics)
    reached = len(it.far.seen)
    if fault.reasons:
        check_refusal(it, it.call(), fault.reasons)
        assert len(it.far.seen) == reached
        it.between.clear()
    assert comes_true(lambda: it.call().status == 200)
    assert it.sent() == f"Bearer {SECRET}"


@pytest.mark.parametrize("partition", [False, True], ids=["down", "partition"])
def test_c01_within_its_time_a_secret_is_used_and_past_it_never(between: Stored, partition: bool) -> None:
    it, answers = between, list[Answer]()
    it.another()
    assert it.call().status == 200
    if partition:
        it.between.put(swallowed())
    else:
        it.between.down()
    assert it.call().status == 200
    reference = it.house.config["credentials"]["token"]["reference"]
    it.store.put(reference.partition("#")[0].rpartition("/")[2], SECOND)

    def is_refused() -> bool:
        answers.append(it.call())
        return answers[-1].status != 200

    assert comes_true(is_refused)
    over, reached = time.monotonic() + AGE, len(it.far.seen)
    while time.monotonic() < over:
        check_refusal(it, it.call(), frozenset({"store_unreachable", "store_slow"}))
    assert len(it.far.seen) == reached
    it.between.up()
    it.between.clear()
    assert comes_true(lambda: it.call().status == 200)
    assert it.sent() == f"Bearer {SECOND}"
    failed = [leaf.credential for leaf in it.house.leaves() if leaf.code == "credential_unavailable"]
    assert (failed[-1].ref, failed[-1].version) == (reference, None) if failed[-1] else False


def _threads(it: Stored) -> int:
    assert it.house.process is not None
    return len(list(Path(f"/proc/{it.house.process.pid}/task").iterdir()))


def test_200_calls_that_meet_a_black_hole_hold_neither_threads_nor_other_calls(between: Stored) -> None:
    it = between
    assert it.house.operation("look", {}, connector="open").status == 200
    it.another()
    it.call()  # the store's library is there, and its threads may be
    it.another()
    it.between.put(swallowed("upstream"))
    before, most, served = _threads(it), 0, 0
    with ThreadPoolExecutor(CALLS) as agents:
        calls = [agents.submit(it.call) for _ in range(CALLS)]
        while wait(calls, timeout=0).not_done:
            assert it.house.operation("look", {}, connector="open").status == 200
            served += not calls[0].done()
            most = max(most, _threads(it))
    refused = [one.result() for one in calls]
    assert {(one.status, one.code) for one in refused} == {(502, "credential_unavailable")}
    check_refusal(it, refused[0], _SLOW)
    assert served >= 3  # a loop that waited with the calls would have served none before they ended
    assert most - before <= 4
