"""What happened, counted for Prometheus in a registry of our own.

The events and the fields they are read from; a field that is missing is not counted:

============= ==========================================================================================
call          surface, connector, operation, code ("allowed" or a reason code), and ``laps``: microseconds by
              the names total, policy, evidence, upstream. Connector and operation are ids of the configuration
evidence      size (records of the log), writable
policy_load   outcome (loaded, failed), revision
policy_rejected  code: why what was offered may not decide (the alarm)
policy_source outcome (answers, failed): whether bundles can be fetched
reload        outcome (loaded, failed), of the configuration
credential    outcome (resolved, or a reason code)
breaker       connector, state (closed, open, half_open; None: there is no such connector any more)
connections   door, open
registry_state age (seconds since it was read; None before the first time), switches (kill switches set)
decisions     hits, misses and passed (by the cache, not looked up) since the last time; entries and bytes now
loop          lag_seconds
failure       error (the name of an exception's class)
============= ==========================================================================================

and ``evidence_commit`` with seconds (of one group commit) and records (in it). Every other event is counted by its
name, which is of the program.

No label holds what a caller chose, and every family is bounded, so that no caller fills the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.adapters.observation.series import Level, Spread, Tally
from sidecar.ports import Clock

DECISION_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
HTTP_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COMMIT_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0)
_BREAKER_STATES: Final = ("closed", "half_open", "open")
_MICROSECOND: Final = 1e-6
_LAG_WINDOW: Final = 30.0  # seconds; the gauge covers the last one to two of them


class _Lag:
    """The longest delay of the event loop over the last half to whole minute."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self) -> None:
        self._now = self._before = 0.0
        self._since = 0.0

    def add(self, seconds: float, at: float) -> None:
        if at - self._since >= _LAG_WINDOW:
            self._before, self._now, self._since = self._now, 0.0, at
        self._now = max(self._now, seconds)

    def longest(self) -> float:
        return max(self._before, self._now)


class MetricsObserver(Collector):
    """An ``Observer`` that counts, and the collector that shows it in ``registry``. Observe on one thread only.

    ``version`` is shown in ``sidecar_build_info``; ``dropped`` tells how many log lines were dropped so far.
    """

    def __init__(self, clock: Clock, version: str = "", dropped: Callable[[], int] = lambda: 0) -> None:
        self._clock = clock
        self._version = version
        self._dropped = dropped
        self._calls = Tally(
            "sidecar_calls", "Calls by what they came to.", ("surface", "connector", "operation", "code")
        )
        self._call = Spread("sidecar_call_duration_seconds", "Whole calls.", HTTP_BUCKETS, "surface")
        self._decision = Spread("sidecar_decision_duration_seconds", "Policy decisions.", DECISION_BUCKETS)
        self._upstream = Spread("sidecar_upstream_duration_seconds", "Upstream exchanges.", HTTP_BUCKETS, "connector")
        self._wait = Spread("sidecar_evidence_wait_seconds", "Calls waiting for durable evidence.", COMMIT_BUCKETS)
        self._commit = Spread("sidecar_evidence_commit_seconds", "Group commits of evidence.", COMMIT_BUCKETS)
        self._records = Tally("sidecar_evidence_records", "Records made durable by this process.")
        self._size = Level("sidecar_evidence_log_records", "Records in the evidence log.")
        self._writable = Level("sidecar_evidence_writable", "Whether a new intent would be accepted (1) or not (0).")
        self._loads = Tally("sidecar_policy_loads", "Loads of the policy.", ("outcome",))
        self._refusals = Tally("sidecar_policy_refusals", "Policies offered and refused.", ("code",), limit=200)
        self._source = Level("sidecar_policy_source_up", "Whether the source of bundles answers (1) or not (0).")
        self._reloads = Tally("sidecar_config_reload", "Reloads of the configuration.", ("outcome",))
        self._credentials = Tally("sidecar_credential_resolutions", "Credentials resolved.", ("outcome",))
        self._cached = Tally("sidecar_decision_cache_lookups", "Decisions by where they came from.", ("outcome",))
        self._cache_entries = Level("sidecar_decision_cache_entries", "Decisions that are kept.")
        self._cache_bytes = Level("sidecar_decision_cache_bytes", "Memory of the decisions that are kept.")
        self._breaker = Level(
            "sidecar_breaker_state", "The circuit's state is the one that is 1.", ("connector", "state")
        )
        self._registry_age = Level("sidecar_registry_age_seconds", "Since the registry was read.")
        self._switches = Level("sidecar_kill_switches", "Kill switches that are set.")
        self._connections = Level("sidecar_connections", "Open connections.", ("door",))
        self._failures = Tally("sidecar_failures", "Failures of the sidecar itself.", ("error",), limit=200)
        self._others = Tally("sidecar_events", "Other events, by name.", ("event",), limit=200)
        self._unobserved = Tally("sidecar_unobserved_events", "Events that could not be counted.")
        self._lag = _Lag()
        self._revision: str | None = None
        self._loaded_at = 0.0
        self._events: dict[str, Callable[[dict[str, Any]], None]] = {
            "call": self._on_call,
            "evidence": self._on_evidence,
            "evidence_commit": self._on_evidence_commit,
            "policy_load": self._on_policy_load,
            "policy_rejected": lambda fields: self._refusals.add((fields.get("code", "unusable"),)),
            "policy_source": lambda fields: self._source.set(1.0 if fields["outcome"] == "answers" else 0.0),
            "reload": lambda fields: self._reloads.add((fields["outcome"],)),
            "credential": lambda fields: self._credentials.add((fields["outcome"],)),
            "decisions": self._on_decisions,
            "breaker": self._on_breaker,
            "registry_state": self._on_registry_state,
            "connections": lambda fields: self._connections.set(fields["open"], (fields["door"],)),
            "loop": lambda fields: self._lag.add(fields["lag_seconds"], self._clock.monotonic()),
            "failure": lambda fields: self._failures.add((fields["error"],)),
        }
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """Count one event. Never raises."""
        on_event = self._events.get(event)
        if on_event is None:
            self._others.add((event,))
            return
        try:
            on_event(fields)
        except Exception:  # the port's promise: a wrong field must not fail the call that is observed
            self._unobserved.add()

    def _on_call(self, fields: dict[str, Any]) -> None:
        surface, connector = fields["surface"], fields["connector"]
        self._calls.add((surface, connector, fields["operation"], fields["code"]))
        laps = fields["laps"]
        if "total" in laps:
            self._call.add(laps["total"] * _MICROSECOND, surface)
        if "policy" in laps:
            self._decision.add(laps["policy"] * _MICROSECOND)
        if "evidence" in laps:
            self._wait.add(laps["evidence"] * _MICROSECOND)
        if "upstream" in laps:
            self._upstream.add(laps["upstream"] * _MICROSECOND, connector)

    def _on_evidence(self, fields: dict[str, Any]) -> None:
        self._size.set(fields["size"])
        self._writable.set(1.0 if fields["writable"] else 0.0)

    def _on_evidence_commit(self, fields: dict[str, Any]) -> None:
        self._commit.add(fields["seconds"])
        self._records.add((), fields["records"])

    def _on_policy_load(self, fields: dict[str, Any]) -> None:
        self._loads.add((fields["outcome"],))
        if fields["outcome"] == "loaded":
            self._revision = fields["revision"]
            self._loaded_at = self._clock.monotonic()

    def _on_decisions(self, fields: dict[str, Any]) -> None:
        for outcome, field in (("hit", "hits"), ("miss", "misses"), ("not_cached", "passed")):
            self._cached.add((outcome,), fields[field])
        self._cache_entries.set(fields["entries"])
        self._cache_bytes.set(fields["bytes"])

    def _on_breaker(self, fields: dict[str, Any]) -> None:
        for state in _BREAKER_STATES:
            key = (fields["connector"], state)
            if fields["state"] is None:
                self._breaker.drop(key)
            else:
                self._breaker.set(1.0 if state == fields["state"] else 0.0, key)

    def _on_registry_state(self, fields: dict[str, Any]) -> None:
        self._switches.set(fields["switches"])
        if fields["age"] is not None:
            self._registry_age.set(fields["age"])

    def collect(self) -> Iterator[Metric]:
        """Every family, for one scrape."""
        for tally in (self._calls, self._records, self._loads, self._refusals, self._reloads, self._credentials):
            yield tally.family()
        for tally in (self._cached, self._failures, self._others, self._unobserved):
            yield tally.family()
        for spread in (self._call, self._decision, self._upstream, self._wait, self._commit):
            yield spread.family()
        for level in (self._size, self._writable, self._cache_entries, self._cache_bytes):
            yield level.family()
        for level in (self._breaker, self._connections, self._source, self._registry_age, self._switches):
            yield level.family()
        yield GaugeMetricFamily(
            "sidecar_loop_lag_seconds", "Longest delay of the event loop in the last minute.", self._lag.longest()
        )
        yield CounterMetricFamily(
            "sidecar_log_lines_dropped", "Log lines dropped because their reader was slow.", self._dropped()
        )
        yield InfoMetricFamily("sidecar_build", "This program.", {"version": self._version})
        if self._revision is not None:
            yield InfoMetricFamily("sidecar_policy", "The policy that decides.", {"revision": self._revision})
            age = self._clock.monotonic() - self._loaded_at
            yield GaugeMetricFamily("sidecar_policy_age_seconds", "Since the policy was loaded.", age)
