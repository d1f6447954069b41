"""Three families, stable codes."""

from __future__ import annotations

import re

import pytest

from sidecar.errors import CODES, Misconfigured, Reason, Refused, SidecarError, Unavailable, UpstreamFailure


def test_every_code_is_a_stable_word_with_an_error_status_and_a_title() -> None:
    for code, (status, title) in CODES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert status in {400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 428, 429, 431, 500, 502, 503, 505}
        assert title[0].isupper() and not title.endswith(".")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unauthenticated", 401),
        ("denied", 403),
        ("policy_unavailable", 403),
        ("tenant_mismatch", 403),
        ("destination_forbidden", 403),
        ("killed", 403),
        ("unknown_operation", 404),
        ("invalid_payload", 422),
        ("rate_limited", 429),
        ("credential_unavailable", 502),
        ("upstream_unavailable", 502),
        ("evidence_unavailable", 503),
        ("registry_unavailable", 503),
        ("conflict", 409),
    ],
)
def test_statuses_that_clients_branch_on(code: str, status: int) -> None:
    assert CODES[code].status == status


def test_the_families_share_one_root_and_are_told_apart() -> None:
    families = (Refused, Unavailable, Misconfigured)
    assert all(issubclass(family, SidecarError) for family in families)
    assert not any(issubclass(a, b) for a in families for b in families if a is not b)
    assert issubclass(UpstreamFailure, Unavailable)


def test_an_error_keeps_its_reasons_and_says_its_code() -> None:
    error = Refused("invalid_payload", "Two fields are wrong.", [Reason("a", "b"), Reason("c", "d")], retry_after=1.5)
    assert error.reasons == (Reason("a", "b"), Reason("c", "d"))
    assert error.retry_after == 1.5
    assert str(error) == "invalid_payload: Two fields are wrong."


def test_an_upstream_failure_knows_whether_anything_was_sent() -> None:
    assert UpstreamFailure("upstream_timeout", "No answer.", sent=True).sent
    assert not UpstreamFailure("upstream_unavailable", "Refused.", sent=False).sent


def test_a_misconfiguration_reads_as_its_detail() -> None:
    assert str(Misconfigured("sidecar.yaml has 1 error")) == "sidecar.yaml has 1 error"
    assert Misconfigured("x").code == "misconfigured"
