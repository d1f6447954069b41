"""What must hold of a value and its terms before they are stored, and what the terms say later.

A value is refused here, where somebody sees why, and not at the first call: one that splits a header (A87), one that
could not be told from ordinary text in an answer, one whose form is not its kind's, one that has ended already.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.errors import Misconfigured, Reason, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import SHORTEST, Secret
from sidecar.rules.credential_types import KINDS, check_form, ends

VALUE_LIMIT: Final = 1 << 16  # bytes of a secret
MANY_LINES: Final = ("SSH_KEY", "CERTIFICATE")  # kinds that are never put into a header (A87)
LONGEST_ROTATION: Final = 3650  # days
LATEST: Final = 253_402_300_799_000_000  # 9999-12-31T23:59:59Z, the last second RFC 3339 can write
DAY: Final = 86_400_000_000  # microseconds
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_IN_A_HEADER: Final = (b"\r", b"\n", b"\0")
_UNSAID_FORM: Final = "the value has a line break or NUL in it, and would split the header it is put into"


def check_value(secret: Secret, kind: str | None) -> None:
    """Raises ``Misconfigured`` for a value that could not be injected or could not be kept out of an answer.

    Its one reason has the code ``too_short``, ``too_long``, ``line_break`` or ``wrong_form``; no part of the value is
    in it.
    """
    plain = secret.reveal()
    if len(plain) < SHORTEST:
        raise _wrong(
            "too_short", f"the value is shorter than {SHORTEST} bytes: it could not be told from ordinary text"
        )
    if len(plain) > VALUE_LIMIT:
        raise _wrong("too_long", f"the value is longer than {VALUE_LIMIT} bytes")
    if kind not in MANY_LINES and any(byte in plain for byte in _NOT_IN_A_HEADER):
        raise _wrong("line_break", f"{_UNSAID_FORM}; only {' and '.join(MANY_LINES)} may have several lines")
    if kind is not None:
        check_form(kind, plain)


def check_terms(terms: Terms, now: int) -> None:
    """Raises ``Misconfigured`` for terms that cannot hold; ``now`` is microseconds since the epoch."""
    if terms.kind is not None and terms.kind not in KINDS:
        raise _wrong("unknown_kind", f"a credential's kind is one of {', '.join(KINDS)}")
    if terms.expires is not None and not now < terms.expires <= LATEST:
        raise _wrong("ended", "the end must be in the future: to end a credential now, delete it")
    if terms.rotate_days is not None and not 1 <= terms.rotate_days <= LONGEST_ROTATION:
        raise _wrong("rotation_days", f"it is rotated every 1 to {LONGEST_ROTATION} days")


def check_change(reference: Reference, secret: Secret | None, terms: Terms, now: int) -> Terms:
    """The terms to keep: with the value's own end where that is known and earlier.

    Raises ``Refused("invalid_payload")`` with the reason of ``check_value`` or ``check_terms``, for a value that has
    ended, and for a reference of a version.
    """
    try:
        if reference.version is not None:
            raise _wrong("versioned", "leave @version out: a change makes the next version of the credential")
        check_terms(terms, now)
        if secret is None:
            return terms
        check_value(secret, terms.kind)
        return lasting(terms, own_end(secret, terms.kind, now))
    except Misconfigured as error:
        raise Refused("invalid_payload", error.detail, error.reasons) from None


def check_version(found: str | None, expected: str | None) -> None:
    """Raises ``Refused`` unless what is there (None: nothing) is of the version a change is to be made over."""
    if found is None and expected is not None:
        raise Refused("unknown_credential", "There is no such credential, or it was deleted.")
    if found is not None and expected is None:
        raise Refused("conflict", "There is such a credential already: say over which version it is to be stored.")
    if found != expected:
        raise Refused("conflict", "The credential was changed meanwhile: read it again, then change it.")


def own_end(secret: Secret, kind: str | None, now: int) -> int | None:
    """When a value ends of itself. Raises ``Misconfigured`` where it has."""
    end = ends(kind, secret.reveal())
    if end is not None and end <= now:
        raise _wrong("ended", "the certificate, or one that vouches for it, has ended")
    return end


def lasting(terms: Terms, end: int | None) -> Terms:
    """The terms, ending at ``end`` if that is earlier."""
    return Terms(kind=terms.kind, expires=earlier(terms.expires, end), rotate_days=terms.rotate_days)


def earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two ends; None is never."""
    return min((end for end in (one, other) if end is not None), default=None)


def rotated(about: About, given: Terms) -> Terms:
    """The terms of a credential's next value: what is not given stays, but for the end, which was the old value's."""
    return Terms(
        kind=given.kind or about.kind, expires=given.expires, rotate_days=given.rotate_days or about.rotate_days
    )


def expiring(rows: Iterable[About], now: int, days: int) -> list[About]:
    """Of these what has ended or ends within ``days``, soonest first."""
    ending = [(row.expires, str(row.reference), row) for row in rows if row.expires is not None]
    return [row for end, _, row in sorted(ending, key=lambda each: each[:2]) if end <= now + days * DAY]


def overdue_days(about: About, now: int) -> float | None:
    """For how many days the promised rotation is overdue (below 0: still to come); None where nobody promised one,
    or the store does not say when the value was written.
    """
    if about.rotate_days is None or about.updated is None:
        return None
    return round((now - micros(about.updated)) / DAY - about.rotate_days, 3)


def rotatable(rows: Iterable[About], now: int) -> list[tuple[About, float | None]]:
    """What can be rotated where it is, with ``overdue_days``: the most overdue first, then what nobody promised."""
    due = [(row, overdue_days(row, now)) for row in rows if row.changeable and row.state == "ok"]
    return sorted(due, key=lambda each: (each[1] is None, -(each[1] or 0.0), str(each[0].reference)))


def moment(at: int) -> str:
    """Microseconds since the epoch in UTC, RFC 3339."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")


def micros(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time, whose zone must be said. Raises ``ValueError``."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no time zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


def _wrong(code: str, message: str) -> Misconfigured:
    return Misconfigured(message, [Reason(code, message)])
