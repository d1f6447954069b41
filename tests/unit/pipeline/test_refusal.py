"""A refusal as its reader sees it (RFC 9457)."""

from __future__ import annotations

import pytest

from sidecar.errors import CODES, Misconfigured, Reason, Refused, Unavailable
from sidecar.pipeline.refusal import problem


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_has_its_status_and_title(code: str) -> None:
    shown = problem(Refused(code, "Why.", [Reason("r", "m")]), "o/1", "sha256:x")
    assert (shown.code, shown.status, shown.title) == (code, *CODES[code])
    assert shown.type == f"urn:policy-sidecar:problem:{code}"
    assert shown.detail == "Why."
    assert (shown.evidence_id, shown.policy_revision) == ("o/1", "sha256:x")
    assert shown.reasons == ({"code": "r", "message": "m"},)


@pytest.mark.parametrize("error", [Unavailable("made_up", "db password is x"), Misconfigured("file /etc/secret")])
def test_a_code_without_a_row_says_nothing_of_the_inside(error: Unavailable | Misconfigured) -> None:
    shown = problem(error, None, None)
    assert (shown.code, shown.status) == ("internal_error", 500)
    assert "password" not in shown.detail
    assert "/etc" not in shown.detail
