"""The status tables of connectors (M06) and data sources (M07), over every pair."""

from __future__ import annotations

import itertools

import pytest

from sidecar.errors import Refused
from sidecar.rules import lifecycle
from sidecar.rules.lifecycle import CONNECTOR, SOURCE, Table, after

# As the rules say it in words, apart from the tables: from each status, the events and where they lead.
CONNECTOR_RULES = {
    "registered": {"configure": "configuring", "deprecate": "deprecated"},
    "configuring": {"configure": "configuring", "complete": "ready", "deprecate": "deprecated"},
    "ready": {
        **{"configure": "configuring", "connect": "connected", "disconnect": "disconnected"},
        **{"fail": "error", "deprecate": "deprecated"},
    },
    "connected": {
        **{"configure": "configuring", "connect": "connected", "disconnect": "disconnected"},
        **{"fail": "error", "deprecate": "deprecated"},
    },
    "disconnected": {
        **{"configure": "configuring", "connect": "connected", "disconnect": "disconnected"},
        **{"deprecate": "deprecated"},
    },
    "error": {
        **{"configure": "configuring", "connect": "connected", "disconnect": "disconnected"},
        **{"fail": "error", "deprecate": "deprecated"},
    },
    "deprecated": {},
}
SOURCE_RULES = {
    "pending": {"configure": "configuring", "deprecate": "deprecated"},
    "configuring": {"configure": "configuring", "complete": "active", "deprecate": "deprecated"},
    "active": {
        **{"configure": "configuring", "activate": "active", "deactivate": "inactive"},
        **{"fail": "error", "deprecate": "deprecated"},
    },
    "inactive": {
        **{"configure": "configuring", "activate": "active", "deactivate": "inactive"},
        **{"deprecate": "deprecated"},
    },
    "error": {
        **{"configure": "configuring", "activate": "active", "deactivate": "inactive"},
        **{"fail": "error", "deprecate": "deprecated"},
    },
    "deprecated": {},
}

PAIRS = [
    (name, table, rules[status].get(event), status, event)
    for name, table, rules, statuses, events in (
        ("connector", CONNECTOR, CONNECTOR_RULES, lifecycle.CONNECTOR_STATUSES, lifecycle.CONNECTOR_EVENTS),
        ("source", SOURCE, SOURCE_RULES, lifecycle.SOURCE_STATUSES, lifecycle.SOURCE_EVENTS),
    )
    for status, event in itertools.product(statuses, events)
]


@pytest.mark.parametrize(
    ("table", "expected", "status", "event"),
    [pair[1:] for pair in PAIRS],
    ids=[f"{pair[0]}-{pair[3]}-{pair[4]}" for pair in PAIRS],
)
def test_every_pair_of_status_and_event(table: Table, expected: str | None, status: str, event: str) -> None:
    if expected is not None:
        assert after(table, status, event) == expected
        return
    with pytest.raises(Refused) as refused:
        after(table, status, event)
    assert refused.value.code == "wrong_status"


@pytest.mark.parametrize(
    ("table", "statuses", "events"),
    [
        (CONNECTOR, lifecycle.CONNECTOR_STATUSES, lifecycle.CONNECTOR_EVENTS),
        (SOURCE, lifecycle.SOURCE_STATUSES, lifecycle.SOURCE_EVENTS),
    ],
)
def test_a_table_names_known_statuses_and_events_only(
    table: Table, statuses: tuple[str, ...], events: tuple[str, ...]
) -> None:
    assert {status for status, _ in table} | set(table.values()) <= set(statuses)
    assert {event for _, event in table} == set(events)
    assert set(table.values()) | {statuses[0]} == set(statuses), "every status is reached"


def test_a_refusal_says_what_is_possible() -> None:
    with pytest.raises(Refused, match="Possible now: configure, deprecate"):
        after(CONNECTOR, "registered", "connect")
    with pytest.raises(Refused, match="delete it instead"):
        after(SOURCE, "deprecated", "activate")


def test_what_is_incomplete_or_taken_out_is_not_in_service() -> None:
    assert not lifecycle.IN_SERVICE & {
        "registered",
        "pending",
        "configuring",
        "disconnected",
        "inactive",
        "deprecated",
    }
    assert not lifecycle.COMPLETED & {"registered", "pending", "configuring"}
