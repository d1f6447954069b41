from __future__ import annotations

import json

import jsonschema_rs
import msgspec
import pytest

from sidecar.config.decision_cases import BASE, Difference, complete, differences, read_cases, read_input
from sidecar.config.schemas import schema
from sidecar.errors import Misconfigured
from sidecar.model.decision import Obligations, PolicyInput

ONE = """\
input: {tenant: blue, principal: {roles: [reader]}}
cases:
  - name: reports reads orders
    input: {principal: {id: reports}, parameters: {id: o-1}, effect: read}
    expect: allow
  - name: nobody removes orders
    input:
      effect: write
    expect: deny
    reasons: [no_grant, embargo, no_grant]
    obligations: {max_bytes: 10}
"""
ALLOW = b'{"allow":true,"reasons":[],"obligations":{}}'


def refused(text: str) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        read_cases(text.encode(), "cases.yaml")
    return [f"{reason.code} {reason.message}" for reason in caught.value.reasons]


def test_the_base_is_a_total_input() -> None:
    value = json.loads(msgspec.json.encode(BASE))
    assert jsonschema_rs.is_valid(schema("decision-input"), value)


def test_a_case_says_what_differs_and_the_rest_is_filled_in() -> None:
    first, second = read_cases(ONE.encode(), "cases.yaml")
    assert (first.name, first.source, first.allow) == ("reports reads orders", "cases.yaml:3", True)
    assert (first.input.tenant, first.input.principal.id, first.input.principal.roles) == (
        "blue",
        "reports",
        ("reader",),
    )
    assert first.input.parameters == {"id": "o-1"}
    assert first.reasons is None
    assert first.obligations is None
    assert (second.source, second.allow, second.input.effect) == ("cases.yaml:6", False, "write")
    assert second.reasons == ("embargo", "no_grant")
    assert second.obligations == Obligations(max_bytes=10)
    assert msgspec.json.decode(first.document(), type=PolicyInput) == first.input


def test_parts_meet_member_by_member_and_free_maps_are_replaced() -> None:
    made = complete(
        {"principal": {"roles": ["reader"], "labels": {"team": "a"}}, "parameters": {"a": 1}},
        {"principal": {"id": "reports", "labels": {"area": "b"}}, "parameters": {"b": 2}},
    )
    assert (made.principal.id, made.principal.kind, made.principal.roles) == ("reports", "agent", ("reader",))
    assert made.principal.labels == {"area": "b"}
    assert made.parameters == {"b": 2}


def test_a_part_may_be_taken_away_and_comes_back_whole() -> None:
    assert complete({"connector": None}).connector is None
    again = complete({"connector": None}, {"connector": {"id": "orders"}})
    assert again.connector is not None
    assert (again.connector.id, again.connector.kind) == ("orders", "http")
    resolved = complete({"destination": {"port": 8443}}).destination
    assert resolved is not None
    assert (resolved.port, bool(resolved.addresses)) == (8443, True)


def test_the_tenant_is_the_sidecars_unless_the_file_says_another() -> None:
    plain = b"cases: [{name: a, expect: deny}]"
    assert read_cases(plain, "c", "green")[0].input.tenant == "green"
    assert read_cases(b"input: {tenant: red}\n" + plain, "c", "green")[0].input.tenant == "red"


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("cases:\n  - {name: a, expect: allow, input: {principal: {idd: x}}}", "unknown_key", "did you mean 'id'"),
        ("cases:\n  - {name: a, expect: allow, inputs: {}}", "unknown_key", "did you mean 'input'"),
        ("cases:\n  - {name: a, expect: maybe}", "wrong_value", "must be one of allow, deny"),
        ("cases:\n  - {name: a}", "missing_key", "'expect' is missing"),
        ("cases:\n  - {name: a, expect: allow, obligations: {maxbytes: 1}}", "unknown_key", "'max_bytes'"),
        ("cases:\n  - {name: a, expect: allow, input: {time: {hour: noon}}}", "wrong_type", "a whole number"),
        ("input: {effects: read}\ncases: [{name: a, expect: deny}]", "unknown_key", "did you mean 'effect'"),
        ("cases: []", "too_short", "at least 1"),
        ("[]", "wrong_type", "must be a mapping"),
        ("x", "wrong_type", "must be a mapping"),
        ("cases: [", "not_a_document", "YAML"),
        ("cases:\n  - {name: a, expect: deny}\n  - {name: a, expect: deny}", "duplicate_name", "cases[1].name"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, code: str, told: str) -> None:
    [reason] = refused(text)
    assert reason.startswith(f"{code} cases.yaml:")
    assert told in reason


def test_every_error_is_told_at_once() -> None:
    assert len(refused("cases:\n  - {name: a, expect: x}\n  - {name: b, expect: allow, y: 1}")) == 2


def test_a_decision_that_is_expected_has_no_differences() -> None:
    first, second = read_cases(ONE.encode(), "cases.yaml")
    assert differences(first, ALLOW) == ()
    denied = {
        "allow": False,
        "reasons": [{"code": "no_grant", "message": "x"}, {"code": "embargo", "message": "y"}],
        "obligations": {"max_bytes": 10},
    }
    assert differences(second, json.dumps(denied).encode()) == ()


def test_each_field_that_differs_is_named_with_both_values() -> None:
    _, second = read_cases(ONE.encode(), "cases.yaml")
    assert differences(second, ALLOW) == (
        Difference("allow", False, True),
        Difference("reasons", ["embargo", "no_grant"], []),
        Difference("obligations", {"max_bytes": 10}, {}),
    )


@pytest.mark.parametrize(
    "answer",
    [
        *(None, b"true", b"{}", b"", b'{"allow":1,"reasons":[],"obligations":{}}'),
        b'{"allow":true,"reasons":[],"obligations":{"mask":["email"]}}',  # which a sidecar could not keep
    ],
)
def test_what_is_no_decision_differs_from_a_deny_too(answer: bytes | None) -> None:
    _, second = read_cases(ONE.encode(), "cases.yaml")
    [difference] = differences(second, answer)
    assert difference.field == "decision"


def test_an_input_alone_says_what_differs_too() -> None:
    made = read_input(b"principal: {id: reports}\neffect: write", "call.yaml", "green")
    assert (made.tenant, made.principal.id, made.effect) == ("green", "reports", "write")
    assert read_input(b'{"tenant": "red"}', "call.json").tenant == "red"
    assert read_input(b"{}", "call.yaml") == BASE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a: [", "not_a_document call.yaml:2"),
        (b"effect: read\nprincipal: {idd: x}", "unknown_key call.yaml:2: principal.idd: "),
        (b"[]", "must be a mapping"),
        (b"time: {hour: 1.0}", "call.yaml:1"),
    ],
)
def test_what_is_wrong_with_an_input_is_told_with_its_line(text: bytes, told: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_input(text, "call.yaml")
    [reason] = caught.value.reasons
    assert told in f"{reason.code} {reason.message}"
