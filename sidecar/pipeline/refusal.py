"""A refusal as its reader sees it: RFC 9457's problem document, the same on every surface."""

from __future__ import annotations

from typing import Final

from sidecar.errors import CODES, SidecarError
from sidecar.model.call import Problem

# A URN, because a problem type need not be a page (RFC 9457 section 3.1.1), and nothing here may be looked up.
TYPE_PREFIX: Final = "urn:policy-sidecar:problem:"


def problem(error: SidecarError, evidence_id: str | None, revision: str | None) -> Problem:
    """The document for ``error``; a code without a row is an internal error, never a leak."""
    code = CODES.get(error.code)
    if code is None:
        code, name = CODES["internal_error"], "internal_error"
        detail = "The sidecar failed while handling the call."
    else:
        name, detail = error.code, error.detail
    return Problem(
        type=TYPE_PREFIX + name,
        title=code.title,
        status=code.status,
        detail=detail,
        code=name,
        evidence_id=evidence_id,
        policy_revision=revision,
        reasons=tuple({"code": reason.code, "message": reason.message} for reason in error.reasons),
    )
