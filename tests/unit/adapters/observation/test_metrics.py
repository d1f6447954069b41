from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from sidecar.adapters.observation.metrics import MetricsObserver
from tests.fakes.clock import HeldClock

CALL: dict[str, Any] = {
    "surface": "access",
    "action": "query",
    "connector": "crm",
    "operation": "find",
    "code": "allowed",
    "laps": {"total": 12_000, "policy": 300, "evidence": 900, "upstream": 8_000, "attempts": 1},
}


def everything(metrics: MetricsObserver) -> None:
    metrics.observe("call", CALL)
    metrics.observe("evidence", {"size": 40, "writable": True})
    metrics.observe("evidence_commit", {"seconds": 0.002, "records": 3})
    metrics.observe("policy_slow", {"revision": "sha256:ab"})
    metrics.observe("policy_load", {"outcome": "loaded", "revision": "sha256:ab"})
    metrics.observe("reload", {"outcome": "failed"})
    metrics.observe("credential", {"outcome": "resolved"})
    metrics.observe("breaker", {"connector": "crm", "state": "half_open"})
    metrics.observe("connections", {"door": "access", "open": 7})
    metrics.observe("registry_state", {"age": 0.25, "switches": 2})
    metrics.observe("decisions", {"hits": 5, "misses": 2, "passed": 0, "entries": 2, "bytes": 900})
    metrics.observe("loop", {"lag_seconds": 0.25})
    metrics.observe("failure", {"error": "KeyError"})


def value(metrics: MetricsObserver, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_call_is_counted_and_timed_in_seconds() -> None:
    metrics = MetricsObserver(HeldClock())
    metrics.observe("call", CALL)
    labels = {"surface": "access", "connector": "crm", "operation": "find", "code": "allowed"}
    assert value(metrics, "sidecar_calls_total", **labels) == 1
    assert value(metrics, "sidecar_call_duration_seconds_sum", surface="access") == pytest.approx(0.012)
    assert value(metrics, "sidecar_decision_duration_seconds_bucket", le="0.0005") == 1
    assert value(metrics, "sidecar_upstream_duration_seconds_bucket", connector="crm", le="0.005") == 0
    assert value(metrics, "sidecar_upstream_duration_seconds_bucket", connector="crm", le="0.01") == 1
    assert value(metrics, "sidecar_evidence_wait_seconds_sum") == pytest.approx(0.0009)


def test_a_registry_that_was_never_read_has_no_age() -> None:
    metrics = MetricsObserver(HeldClock())
    metrics.observe("registry_state", {"age": None, "switches": 0})
    assert value(metrics, "sidecar_registry_age_seconds") is None
    assert value(metrics, "sidecar_kill_switches") == 0
    metrics.observe("registry_state", {"age": 0.25, "switches": 2})
    assert value(metrics, "sidecar_registry_age_seconds") == 0.25
    assert value(metrics, "sidecar_kill_switches") == 2


def test_a_refused_call_without_laps_is_counted() -> None:
    metrics = MetricsObserver(HeldClock())
    metrics.observe("call", {**CALL, "connector": None, "operation": None, "code": "unauthenticated", "laps": {}})
    labels = {"surface": "access", "connector": "", "operation": "", "code": "unauthenticated"}
    assert value(metrics, "sidecar_calls_total", **labels) == 1
    assert value(metrics, "sidecar_call_duration_seconds_count", surface="access") is None


def test_every_event_has_its_numbers() -> None:
    clock = HeldClock()
    metrics = MetricsObserver(clock, version="9.9", dropped=lambda: 4)
    everything(metrics)
    clock.advance(30)
    assert value(metrics, "sidecar_evidence_commit_seconds_count") == 1
    assert value(metrics, "sidecar_evidence_records_total") == 3
    assert value(metrics, "sidecar_evidence_log_records") == 40
    assert value(metrics, "sidecar_evidence_writable") == 1
    assert value(metrics, "sidecar_policy_loads_total", outcome="loaded") == 1
    assert value(metrics, "sidecar_policy_info", revision="sha256:ab") == 1
    assert value(metrics, "sidecar_policy_age_seconds") == pytest.approx(30)
    assert value(metrics, "sidecar_config_reload_total", outcome="failed") == 1
    assert value(metrics, "sidecar_credential_resolutions_total", outcome="resolved") == 1
    assert value(metrics, "sidecar_breaker_state", connector="crm", state="half_open") == 1
    assert value(metrics, "sidecar_breaker_state", connector="crm", state="closed") == 0
    assert value(metrics, "sidecar_connections", door="access") == 7
    assert value(metrics, "sidecar_decision_cache_lookups_total", outcome="hit") == 5
    assert value(metrics, "sidecar_decision_cache_lookups_total", outcome="miss") == 2
    assert value(metrics, "sidecar_decision_cache_lookups_total", outcome="not_cached") == 0
    assert value(metrics, "sidecar_decision_cache_entries") == 2
    assert value(metrics, "sidecar_decision_cache_bytes") == 900
    assert value(metrics, "sidecar_loop_lag_seconds") == 0.25
    assert value(metrics, "sidecar_failures_total", error="KeyError") == 1
    assert value(metrics, "sidecar_log_lines_dropped_total") == 4
    assert value(metrics, "sidecar_build_info", version="9.9") == 1
    assert value(metrics, "sidecar_unobserved_events_total") == 0
    assert value(metrics, "sidecar_events_total", event="policy_slow") == 1
    metrics.observe("evidence", {"size": 41, "writable": False})
    assert value(metrics, "sidecar_evidence_writable") == 0


def test_a_refused_policy_is_counted_by_its_code_and_a_source_that_is_away_shows() -> None:
    metrics = MetricsObserver(HeldClock())
    assert value(metrics, "sidecar_policy_source_up") is None
    metrics.observe("policy_rejected", {"message": "m", "errors": [], "code": "older_bundle"})
    metrics.observe("policy_rejected", {"message": "m", "errors": []})
    metrics.observe("policy_source", {"outcome": "failed", "origin": "o", "message": "m"})
    assert value(metrics, "sidecar_policy_refusals_total", code="older_bundle") == 1
    assert value(metrics, "sidecar_policy_refusals_total", code="unusable") == 1
    assert value(metrics, "sidecar_policy_source_up") == 0
    metrics.observe("policy_source", {"outcome": "answers", "origin": "o", "message": ""})
    assert value(metrics, "sidecar_policy_source_up") == 1


def test_a_failed_load_leaves_the_policy_that_decides() -> None:
    clock = HeldClock()
    metrics = MetricsObserver(clock)
    metrics.observe("policy_load", {"outcome": "failed"})
    assert value(metrics, "sidecar_policy_age_seconds") is None
    metrics.observe("policy_load", {"outcome": "loaded", "revision": "sha256:ab"})
    clock.advance(5)
    metrics.observe("policy_load", {"outcome": "failed"})
    assert value(metrics, "sidecar_policy_age_seconds") == pytest.approx(5)
    assert value(metrics, "sidecar_policy_info", revision="sha256:ab") == 1


def test_an_event_with_wrong_fields_is_counted_as_such() -> None:
    metrics = MetricsObserver(HeldClock())
    metrics.observe("breaker", {"connector": "crm"})
    metrics.observe("connections", {"door": "access", "open": "many"})
    metrics.observe("unknown", {})
    assert value(metrics, "sidecar_unobserved_events_total") == 2


def test_the_longest_lag_is_forgotten_after_a_minute() -> None:
    clock = HeldClock()
    metrics = MetricsObserver(clock)
    metrics.observe("loop", {"lag_seconds": 0.5})
    for _ in range(29 * 4):
        clock.advance(0.25)
        metrics.observe("loop", {"lag_seconds": 0.001})
    assert value(metrics, "sidecar_loop_lag_seconds") == 0.5
    for _ in range(31 * 4):
        clock.advance(0.25)
        metrics.observe("loop", {"lag_seconds": 0.001})
    assert value(metrics, "sidecar_loop_lag_seconds") == 0.001


def test_labels_that_a_caller_could_choose_do_not_grow_the_output() -> None:
    metrics = MetricsObserver(HeldClock())
    for number in range(100):
        chosen = {"principal": f"p{number}", "action": f"a{number}", "path": f"/{number}", "call_id": number}
        metrics.observe("call", {**CALL, **chosen})
    lines = generate_latest(metrics.registry).splitlines()
    assert len([line for line in lines if line.startswith(b"sidecar_calls_total")]) == 1
    assert len(lines) < 250


def test_the_registry_is_our_own() -> None:
    assert MetricsObserver(HeldClock()).registry is not MetricsObserver(HeldClock()).registry
    assert not [family for family in REGISTRY.collect() if family.name.startswith("sidecar_")]


@pytest.mark.needs_promtool
def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("SIDECAR_REQUIRE_FIXTURES"), "promtool is required here"
        pytest.skip("apt-get install prometheus")
    metrics = MetricsObserver(HeldClock(), version="9.9")
    everything(metrics)
    text = generate_latest(metrics.registry)
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
