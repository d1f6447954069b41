"""The policy's answer is read strictly; the table of what is a deny is ``tests/cases/decisions.yaml``."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Reason, Refused, SidecarError, Unavailable
from sidecar.model.decision import Decision, Obligations, Permit, PolicyReason, Verdict
from sidecar.pipeline import decide
from sidecar.pipeline.select import Target
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.parts import CONFIG

CONNECTOR = compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["crm"]
TARGET = Target(None, CONNECTOR, CONNECTOR.operations["get"])
STREAMING = Target(None, CONNECTOR, CONNECTOR.operations["watch"])


def permit(obligations: Obligations, target: Target = TARGET, *, allow: bool = True) -> Permit:
    decision = Decision(allow, (PolicyReason("why", "because"),), obligations)
    return decide.permit(decision, Verdict("r-1", b""), "c-1", target)


def refusal(obligations: Obligations, target: Target = TARGET, *, allow: bool = True) -> SidecarError:
    with pytest.raises(SidecarError) as refused:
        permit(obligations, target, allow=allow)
    return refused.value


def test_exactly_a_decision_is_read() -> None:
    answer = (
        b'{"allow":true,"reasons":[{"code":"granted","message":"m"}],"obligations":{"mask":["/a"],"max_bytes":9,'
        b'"timeout_ms":5,"record_bodies":true,"require_approval":false,"max_rows":null}}'
    )
    assert decide.read(Verdict("r", answer)) == Decision(
        True,
        (PolicyReason("granted", "m"),),
        Obligations(mask=("/a",), max_bytes=9, timeout_ms=5, record_bodies=True),
    )


@pytest.mark.parametrize(
    "answer",
    [
        *(None, b"", b"{}", b"true", b'{"allow":true}'),
        b'{"allow":true,"reasons":[{"code":"\xff","message":"m"}],"obligations":{}}',
        b'{"allow":true,"reasons":[],"obligations":{"\xff":1}}',
        *(
            b'{"allow":true,"reasons":[],"obligations":{"mask":["/ok",%s]}}' % at
            for at in (b'"a"', b'"/~2"', b'"\\n"')
        ),
    ],
)
def test_inv_3_anything_else_is_no_decision(answer: bytes | None) -> None:
    with pytest.raises(Unavailable) as unavailable:
        decide.read(Verdict("r", answer))
    assert unavailable.value.code == "policy_unavailable"


def test_an_allow_becomes_a_permit() -> None:
    obligations = Obligations(max_bytes=10, mask=("/a/*",))
    assert permit(obligations) == Permit("c-1", "crm", "get", "r-1", obligations)


def test_inv_3_a_deny_has_the_policys_reasons() -> None:
    error = refusal(Obligations(), allow=False)
    assert isinstance(error, Refused)
    assert error.code == "denied"
    assert error.reasons == (Reason("why", "because"),)


@pytest.mark.parametrize(
    ("obligations", "target", "code"),
    [
        (Obligations(require_approval=True), TARGET, "approval_required"),
        (Obligations(max_rows=10), TARGET, "policy_unavailable"),
        (Obligations(mask=("/a",)), STREAMING, "policy_unavailable"),
        (Obligations(record_bodies=True), STREAMING, "policy_unavailable"),
    ],
)
def test_inv_3_an_obligation_that_cannot_be_kept_is_a_deny(
    obligations: Obligations, target: Target, code: str
) -> None:
    assert refusal(obligations, target).code == code


def test_a_stream_may_be_bounded() -> None:
    assert permit(Obligations(max_bytes=10, timeout_ms=10), STREAMING).operation == "watch"
