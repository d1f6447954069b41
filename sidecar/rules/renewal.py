"""Whether a call that its upstream answered 401 may be sent once more with another version of its credential.

RFC 9110 section 15.5.2: a 401 says that the request *has not been applied* for lack of valid credentials, and that
it may be repeated with others. What the upstream takes back in that way may be sent twice whatever its method. But a
401 must carry a challenge; one without it may be some other program's, relayed by an upstream that had begun its
work. So without a challenge only that is repeated which does no harm twice: an idempotent operation, or one whose
idempotency key the upstream was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

REFUSED: Final = 401
_CHALLENGE: Final = b"www-authenticate"


def may_repeat(status: int, headers: Iterable[tuple[bytes, bytes]], *, idempotent: bool) -> bool:
    """``headers`` are the answer's, names in lower case; ``idempotent`` counts an idempotency key that was sent."""
    return status == REFUSED and (idempotent or any(name == _CHALLENGE for name, _ in headers))
