"""Step 5: read the policy's answer, strictly. The only place that builds a ``Permit``.

Deny by default (INV-3): undefined, not an object, a missing or unknown member, a wrong type, an obligation the
sidecar does not know, anything but ``allow`` being exactly ``true`` is a deny.
"""

from __future__ import annotations

import msgspec

from sidecar.errors import Reason, Refused, Unavailable
from sidecar.model.decision import Decision, Permit, Verdict
from sidecar.pipeline.select import Target

_read = msgspec.json.Decoder(Decision, strict=True).decode


def read(verdict: Verdict) -> Decision:
    """The decision in an engine's answer. Raises ``Unavailable("policy_unavailable")`` unless it is exactly one."""
    if verdict.answer is None:
        raise Unavailable(
            "policy_unavailable", "The policy does not define a decision for this call, so it is denied."
        )
    try:
        return _read(verdict.answer)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the latter for a text that is not UTF-8
        raise Unavailable(
            "policy_unavailable",
            "The policy's answer is not of the agreed shape, so the call is denied. The security team can run "
            "`sidecar policy test` against schemas/decision.schema.json.",
        ) from None


def permit(decision: Decision, verdict: Verdict, call_id: str, target: Target) -> Permit:
    """The proof of an allow. Raises ``Refused`` when the policy denies, or asks for what cannot be had."""
    reasons = [Reason(reason.code, reason.message) for reason in decision.reasons]
    if decision.allow is not True:
        raise Refused("denied", "The policy denies this call; see reasons.", reasons)
    obligations = decision.obligations
    if obligations.require_approval:
        raise Refused("approval_required", "The policy asks for an approval before this call.", reasons)
    if obligations.max_rows is not None:
        raise Unavailable("policy_unavailable", "The policy sets max_rows, which an HTTP operation cannot keep.")
    if target.operation.stream and obligations.mask:
        raise Unavailable("policy_unavailable", "The policy masks this answer, but the operation streams it.")
    if target.operation.stream and obligations.record_bodies:
        raise Unavailable("policy_unavailable", "The policy records this answer, but the operation streams it.")
    return Permit(
        call_id=call_id,
        connector=target.connector.id,
        operation=target.operation.id,
        revision=verdict.revision,
        obligations=obligations,
    )
