"""What every store checks: what goes in, and what comes out.

Storage is not trusted: a row that is not the tenant's, or whose document is none, is never handed on (INV-4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sidecar.errors import Refused, Unavailable
from sidecar.model.registry import KINDS, Row

LONGEST_ID: Final = 200  # characters
LARGEST_DOCUMENT: Final = 256 << 10  # bytes of JSON
MOST_ROWS: Final = 10_000  # of one answer

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def check_kind(kind: str) -> None:
    """Raises ``Refused("invalid_payload")`` for a kind that is none of ``KINDS``."""
    if kind not in KINDS:
        raise Refused("invalid_payload", f"The registry holds no {kind!r}. It holds: {', '.join(sorted(KINDS))}.")


def check_id(id: str) -> None:
    """Raises ``Refused("invalid_payload")`` for an id that no store could keep as it is."""
    if not 1 <= len(id) <= LONGEST_ID or "\0" in id or not _is_unicode(id):
        raise Refused("invalid_payload", f"An id has 1 to {LONGEST_ID} characters, and U+0000 is none of them.")


def encoded(document: dict[str, Any]) -> str:
    """The document as JSON text. Raises ``Refused("invalid_payload")`` where it is too large or not Unicode."""
    try:
        text = _encode(document)
    except UnicodeEncodeError:
        raise Refused("invalid_payload", "The document has text that is not Unicode.") from None
    if len(text) > LARGEST_DOCUMENT:
        raise Refused("invalid_payload", f"The document has more than {LARGEST_DOCUMENT} bytes of JSON.")
    return text.decode()


def conflict(kind: str, id: str, expected: int | None) -> Refused:
    """The refusal of a write whose row is not as its writer expected."""
    found = "exists already" if expected is None else f"is not of version {expected} any more"
    return Refused("conflict", f"The {kind} {id!r} {found}. Read it again and decide anew.")


def read(tenant: str, fields: Sequence[Any]) -> Row:
    """A row from the columns of its table, in their order. Raises ``Unavailable("registry_unavailable")``."""
    owner, kind, id, version, sequence, document, by, at, deleted = fields
    if owner != tenant:
        raise Unavailable("registry_unavailable", "The registry gave a row of another tenant; it was not used.")
    try:
        value = msgspec.json.decode(document, type=dict[str, Any])
        return Row(
            tenant=owner,
            kind=kind,
            id=id,
            version=int(version),
            sequence=int(sequence),
            document=value,
            by=by,
            at=int(at),
            deleted=bool(deleted),
        )
    except (msgspec.DecodeError, TypeError, ValueError):
        raise Unavailable("registry_unavailable", f"The registry's {kind} {id!r} cannot be read.") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
