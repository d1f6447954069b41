"""Decisions that are answered again: counted, with evidence of their own, and gone when the policy changes."""

from __future__ import annotations

import time

from sidecar.model.evidence import INTENT, OUTCOME, REFUSAL
from tests.e2e.house import GRANTS, House, comes_true

CALLS = 20
REVOKED_SECONDS = 1.0
ROUNDS = 3


def _looked_up(house: House, outcome: str) -> float:
    return house.metric("sidecar_decision_cache_lookups_total", outcome=outcome) or 0.0


def test_a_repeated_call_is_decided_from_the_cache_and_leaves_the_same_evidence(house: House) -> None:
    house.start()
    for number in range(CALLS):
        assert house.operation("read", {"topic": f"t{number}"}).status == 200
    assert comes_true(lambda: _looked_up(house, "hit") + _looked_up(house, "miss") >= CALLS)
    assert _looked_up(house, "miss") <= 2, "one, and one more where the minute changed meanwhile"
    assert _looked_up(house, "not_cached") == 0
    assert house.status()["decisions_not_cached"] is None
    assert house.stop() == 0
    leaves = house.leaves()
    assert [leaf.kind for leaf in leaves] == [INTENT, OUTCOME] * CALLS
    assert len({leaf.input_hash for leaf in leaves if leaf.kind == INTENT}) == CALLS
    assert len({leaf.bundle for leaf in leaves}) == 1
    assert house.verified().unknown == []


def test_p07_a_revoked_grant_is_denied_within_a_second_however_often_it_was_allowed(house: House) -> None:
    house.start()
    took = []
    for _ in range(ROUNDS):
        house.grant(GRANTS)
        assert comes_true(lambda: house.operation("read").status == 200)
        assert [house.operation("read").status for _ in range(CALLS)] == [200] * CALLS
        revoked = time.monotonic()
        house.grant([])
        assert comes_true(lambda: house.operation("read").code == "denied")
        took.append(time.monotonic() - revoked)
        assert [house.operation("read").code for _ in range(CALLS)] == ["denied"] * CALLS
    assert _looked_up(house, "hit") > ROUNDS * CALLS
    assert min(took) < REVOKED_SECONDS, took  # other tests run beside: once it must come through
    assert house.stop() == 0
    refused = {leaf.bundle for leaf in house.leaves() if leaf.kind == REFUSAL}
    allowed = {leaf.bundle for leaf in house.leaves() if leaf.kind == INTENT}
    assert len(refused) == len(allowed) == 1
    assert refused != allowed, "no old answer under the new revision, nor the other way round"


def test_p13_a_policy_that_looks_at_the_clock_is_asked_every_time_and_says_so(house: House) -> None:
    house.write_policy(
        'package sidecar.custom\n\ndeny contains {"code": "late", "message": "Late."} if time.now_ns() < 0\n'
    )
    house.start()
    assert [house.operation("read").status for _ in range(CALLS)] == [200] * CALLS
    assert "time.now_ns" in house.status()["decisions_not_cached"]
    assert comes_true(lambda: _looked_up(house, "not_cached") >= CALLS)
    assert _looked_up(house, "hit") == 0


def test_the_cache_is_switched_off_and_on_by_a_reload(house: House) -> None:
    house.start()
    assert [house.operation("read").status for _ in range(CALLS)] == [200] * CALLS
    assert comes_true(lambda: (house.metric("sidecar_decision_cache_entries") or 0) > 0)
    house.config["policy"] = {"cache_entries": 0}
    house.write_config()
    assert comes_true(lambda: "switched off" in (house.status()["decisions_not_cached"] or ""))
    assert comes_true(lambda: house.metric("sidecar_decision_cache_entries") == 0)
    assert [house.operation("read").status for _ in range(CALLS)] == [200] * CALLS
    assert comes_true(lambda: _looked_up(house, "not_cached") == CALLS)
    house.config["policy"] = {"cache_entries": 5}
    house.write_config()
    assert comes_true(lambda: house.status()["decisions_not_cached"] is None)
    for plane in ("read", "write", "send", "remove") * 3:
        house.operation(plane, {"topic": "tin"} if plane != "send" else {"text": "tin"})
    assert comes_true(lambda: 3 <= (house.metric("sidecar_decision_cache_entries") or 0) <= 5)
