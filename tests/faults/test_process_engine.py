"""A fatal error of the policy engine ends the process: nothing acknowledged is lost, and a restart goes on."""

from __future__ import annotations

import http.client
import resource
from pathlib import Path

import pytest

from tests.e2e.far import Far
from tests.e2e.house import House, comes_true
from tests.e2e.load import Load

# One builtin call makes 400 MB of text in one piece, which no deadline interrupts.
EXPLODES = """package sidecar.custom

deny contains {"code": "exploded", "message": "The text was too long."} if {
	input.parameters.text == "explode"
	long := concat("", ["aaaaaaaaaa" | some _ in numbers.range(1, 2000)])
	count(replace(long, "a", long)) > 0
}
"""
ROOM = 128 << 20  # bytes of address space that the process may still take


def allow_no_more_memory(house: House) -> None:
    """From now on large allocations fail. The Go runtime ends the process when one does."""
    assert house.process is not None
    pages = int(Path(f"/proc/{house.process.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.prlimit(house.process.pid, resource.RLIMIT_AS, (limit, limit))


def test_a_fatal_error_in_the_engine_loses_nothing_that_was_acknowledged(house: House, far: Far) -> None:
    house.config["policy"] = {"budget_ms": 5000}  # a busy machine must come to the builtin before the deadline does
    house.write_config()
    house.write_policy(EXPLODES)
    house.start()
    load = Load(house, "before")
    load.start()
    assert comes_true(lambda: len(load.acknowledged) > 200)
    allow_no_more_memory(house)
    with pytest.raises((OSError, http.client.HTTPException)):  # the process died over it: there is no answer
        house.operation("send", {"text": "explode"})
    assert house.ended() != 0
    load.join()
    assert "fatal error" in (house.folder / "err.log").read_text()

    house.start()
    assert house.operation("write", call="after").status == 200
    leaves = house.leaves()
    for call, answer in load.acknowledged:
        assert answer.evidence_id is not None
        leaf = leaves[int(answer.evidence_id.rpartition("/")[2])]
        assert (leaf.code, leaves[leaf.intent or 0].idempotency_key) == (answer.code, call)
    intended = {leaf.idempotency_key for leaf in leaves if leaf.kind == "intent"}
    assert {seen.headers["x-call"] for seen in far.seen} <= intended
    assert house.stop() == 0
    house.verified()
