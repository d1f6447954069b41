"""What may be stored, when it ends, and when it is to be rotated."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import Misconfigured, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import (
    DAY,
    VALUE_LIMIT,
    check_change,
    check_value,
    earlier,
    expiring,
    overdue_days,
    rotatable,
    rotated,
)
from sidecar.rules.credential_types import ends
from tests.fakes.certificates import Authority

NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z
CRM = Reference("encrypted", "crm")
VALUE = Secret("value-12345678")


def about(
    name: str,
    *,
    changeable: bool = True,
    updated: str | None = None,
    expires: int | None = None,
    rotate_days: int | None = None,
) -> About:
    return About(
        reference=Reference("encrypted", name),
        kind="API_KEY",
        version="1",
        updated=updated,
        expires=expires,
        rotate_days=rotate_days,
        changeable=changeable,
    )


def test_a87_a_value_with_lines_is_for_keys_and_certificates_only(tmp_path: Path) -> None:
    check_value(Secret(Authority(tmp_path).client()), "CERTIFICATE")
    check_value(Secret("tab\tand space"), "CUSTOM")
    for kind in ("API_KEY", "CUSTOM", None):
        for plain in ("a\nbcd", "a\rbcd", "a\0bcd"):
            with pytest.raises(Misconfigured) as wrong:
                check_value(Secret(plain), kind)
            assert wrong.value.reasons[0].code == "line_break"


@pytest.mark.parametrize(("plain", "code"), [("abc", "too_short"), ("x" * (VALUE_LIMIT + 1), "too_long")])
def test_a_value_has_a_length(plain: str, code: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        check_value(Secret(plain), None)
    assert wrong.value.reasons[0].code == code
    check_value(Secret("abcd"), None)
    check_value(Secret("x" * VALUE_LIMIT), None)


@pytest.mark.parametrize(
    ("secret", "terms", "code"),
    [
        (Secret("Bearer canary-1234"), Terms(kind="BEARER_TOKEN"), "wrong_form"),
        (Secret("canary\r\nX: y"), Terms(), "line_break"),
        (VALUE, Terms(kind="ODD"), "unknown_kind"),
        (VALUE, Terms(expires=NOW), "ended"),
        (None, Terms(expires=NOW - 1), "ended"),
        (None, Terms(expires=2**63), "ended"),
        (VALUE, Terms(rotate_days=0), "rotation_days"),
        (VALUE, Terms(rotate_days=3651), "rotation_days"),
    ],
)
def test_what_cannot_hold_is_refused_with_a_code_and_none_of_the_value(
    secret: Secret | None, terms: Terms, code: str
) -> None:
    with pytest.raises(Refused) as refused:
        check_change(CRM, secret, terms, NOW)
    assert (refused.value.code, refused.value.reasons[0].code) == ("invalid_payload", code)
    assert "canary" not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_a_change_names_no_version() -> None:
    with pytest.raises(Refused) as refused:
        check_change(Reference("vault", "secret/acme/crm", "token", "3"), VALUE, Terms(), NOW)
    assert refused.value.reasons[0].code == "versioned"


def test_a_certificate_ends_when_it_says_and_no_later_than_what_was_said(tmp_path: Path) -> None:
    plain = Authority(tmp_path).client()
    end = ends("CERTIFICATE", plain)
    assert end is not None
    now = end - DAY
    kept = check_change(CRM, Secret(plain), Terms(kind="CERTIFICATE", rotate_days=30), now)
    assert kept == Terms(kind="CERTIFICATE", expires=end, rotate_days=30)
    said = check_change(CRM, Secret(plain), Terms(kind="CERTIFICATE", expires=end - 1), now)
    assert said.expires == end - 1
    with pytest.raises(Refused) as ended:
        check_change(CRM, Secret(plain), Terms(kind="CERTIFICATE"), end)
    assert ended.value.reasons[0].code == "ended"


def test_the_next_value_keeps_its_kind_and_rotation_but_not_the_old_ones_end() -> None:
    before = about("crm", expires=NOW, rotate_days=30)
    assert rotated(before, Terms()) == Terms(kind="API_KEY", rotate_days=30)
    given = Terms(kind="OAUTH", expires=NOW + 1, rotate_days=7)
    assert rotated(before, given) == given


def test_never_is_later_than_any_end() -> None:
    assert (earlier(None, None), earlier(3, None), earlier(None, 3), earlier(4, 3)) == (None, 3, 3, 3)


def test_what_ends_within_the_days_soonest_first() -> None:
    rows = [
        about("never"),
        about("far", expires=NOW + 31 * DAY),
        about("edge", expires=NOW + 30 * DAY),
        about("ended", expires=NOW - DAY),
    ]
    assert [row.reference.locator for row in expiring(rows, NOW, 30)] == ["ended", "edge"]
    assert expiring(rows, NOW, 0) == [rows[3]]


def test_a_promised_rotation_is_overdue_by_days() -> None:
    written = "2027-01-05T08:00:00Z"  # ten days before
    assert overdue_days(about("crm", updated=written, rotate_days=7), NOW) == 3
    assert overdue_days(about("crm", updated=written, rotate_days=30), NOW) == -20
    assert overdue_days(about("crm", updated=written), NOW) is None
    assert overdue_days(about("crm", rotate_days=7), NOW) is None


def test_the_most_overdue_is_rotated_first_and_what_others_change_not_at_all() -> None:
    written = "2027-01-05T08:00:00Z"
    rows = [
        about("unpromised"),
        about("to-come", updated=written, rotate_days=30),
        about("overdue", updated=written, rotate_days=7),
        about("lent", changeable=False, updated=written, rotate_days=1),
    ]
    assert [row.reference.locator for row, _ in rotatable(rows, NOW)] == ["overdue", "to-come", "unpromised"]
