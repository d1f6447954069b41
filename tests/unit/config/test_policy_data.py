"""Grants are checked before they are used: what is misspelt would otherwise grant more than was meant."""

from __future__ import annotations

import pytest

from sidecar.config.policy_data import data_faults

GOOD = """\
sidecar:
  grants:
    acme:
      principals:
        reports: [orders/get, "crm/*"]
        clerk:
          - connector: orders
            operations: "*"
            effects: [read, write]
            planes: [books]
            weekdays: [mon, fri]
            hours: ["09:00", "24:00"]
            until: 2030-12-31T18:00Z
      roles: {reader: [{connector: orders, operations: [get]}]}
  clearances: {acme: {roles: {reader: [personal]}}}
  break_glass:
    acme: [{principals: [clerk], connector: orders, operations: "*", until: 2030-01-01T00:00Z, why: incident 7}]
  thresholds: {acme: {spend-80: {deny: [write]}}}
  custom: {anything: 1}
ours: [1, 2]
"""


def told(text: str, *folder: str) -> list[str]:
    return [
        f"{fault.where}: {fault.path}: {fault.message} [{fault.code}]"
        for fault in data_faults(text.encode(), "data.yaml", folder)
    ]


def test_everything_that_the_shipped_rules_know_is_good() -> None:
    assert told(GOOD) == []


def grant(text: str) -> str:
    return f"sidecar: {{grants: {{acme: {{principals: {{a: [{text}]}}}}}}}}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (grant("orders"), "must be 'connector/operation' or 'connector/*'"),
        (grant("'*/get'"), "must be 'connector/operation' or 'connector/*'"),
        (grant("{connector: orders, operation: [get]}"), "did you mean 'operations'?"),
        (grant("{connector: orders, operations: get}"), "must be a list of operation ids, or '*'"),
        (grant("{connector: orders, operations: '*', hour: ['09:00', '10:00']}"), "did you mean 'hours'?"),
        (grant("{connector: orders, operations: '*', hours: ['9:00', '10:00']}"), "must be a time of day"),
        (grant("{connector: orders, operations: '*', hours: ['09:00']}"), "at least 2"),
        (grant("{connector: orders, operations: '*', hours: ['09:00', '10:00', '11:00']}"), "maxItems"),
        (grant("{connector: orders, operations: '*', weekdays: [monday]}"), "did you mean 'mon'?"),
        (grant("{connector: orders, operations: '*', effects: [reed]}"), "did you mean 'read'?"),
        (
            grant("{connector: orders, operations: '*', until: 2030-12-31}"),
            "a minute, UTC, such as 2030-12-31T18:00Z",
        ),
        (grant("{connector: orders, operations: '*', planes: false}"), "must be a list"),
        (grant("1"), "must be a mapping, not a number"),
        ("sidecar: {grant: {}}", "did you mean 'grants'?"),
        ("sidecar: {grants: {acme: {principal: {}}}}", "did you mean 'principals'?"),
        ("sidecar: {break_glass: {acme: [{connector: a, operations: '*'}]}}", "the key 'until' is missing"),
        ("sidecar: {thresholds: {acme: {a: {denies: [read]}}}}", "did you mean 'deny'?"),
        ("sidecar: [1]", "must be a mapping"),
    ],
)
def test_what_would_be_misunderstood_is_told_with_its_line(text: str, says: str) -> None:
    messages = told("# a comment\n" + text)
    assert messages
    assert all(message.startswith("data.yaml:2: sidecar") for message in messages)
    assert any(says in message for message in messages)


def test_a_file_lies_at_its_folders_path() -> None:
    [message] = told(
        "\nacme:\n  principals:\n    a:\n    - {connector: orders, operation: get, operations: '*'}\n",
        "sidecar",
        "grants",
    )
    assert message.startswith("data.yaml:5: sidecar.grants.acme.principals.a[0].operation: ")
    assert told("anything: 1", "elsewhere") == []


def test_json_with_tabs_has_no_lines_and_is_checked_all_the_same() -> None:
    [message] = told('{\n\t"sidecar": {"grant": {}}\n}')
    assert "did you mean 'grants'?" in message


def test_what_is_no_document_is_told() -> None:
    [message] = told("a: [")
    assert "not_a_document" in message


def test_every_error_is_told_at_once() -> None:
    assert len(told(grant("orders, {connector: orders, operations: '*', hour: 1}"))) == 2
