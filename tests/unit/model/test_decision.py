"""The policy's contract: a total input, a strict answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.model.decision import (
    INPUT_VERSION,
    Decision,
    Moment,
    PolicyInput,
    PrincipalFacts,
    Usage,
)

ALLOW = {"allow": True, "reasons": [], "obligations": {}}


def _input() -> PolicyInput:
    return PolicyInput(
        tenant="acme",
        principal=PrincipalFacts("reader", "agent", (), {}),
        session=None,
        surface="access",
        action="query",
        effect="read",
        plane=None,
        connector=None,
        operation=None,
        parameters=None,
        request=None,
        destination=None,
        usage=Usage(),
        switches=(),
        findings=(),
        time=Moment(0, 12, 3, "2030-01-10"),
    )


def test_every_key_of_the_input_is_there_and_null_where_unknown() -> None:
    document = msgspec.json.decode(msgspec.json.encode(_input()))
    assert set(document) == set(PolicyInput.__struct_fields__)
    assert document["version"] == INPUT_VERSION
    assert document["destination"] is None
    assert document["usage"] == {"over": []}


def test_an_answer_decodes() -> None:
    decision = msgspec.convert(ALLOW | {"obligations": {"max_bytes": 10}}, Decision)
    assert decision.allow
    assert decision.obligations.max_bytes == 10


@pytest.mark.parametrize(
    "answer",
    [
        ALLOW | {"allow": 1},
        ALLOW | {"allow": "true"},
        ALLOW | {"allow": None},
        ALLOW | {"extra": 1},
        ALLOW | {"obligations": {"log_to": "somewhere"}},
        ALLOW | {"obligations": {"max_bytes": "10"}},
        ALLOW | {"reasons": [{"code": "x"}]},
        {"allow": True},
        True,
        [],
        None,
    ],
)
def test_inv_3_an_answer_that_is_not_exactly_a_decision_does_not_decode(answer: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(answer, Decision)
