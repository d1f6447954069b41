"""W3C Trace Context, level 1: the caller's trace is named in the log line of its call.

It is not sent on: a header whose value the agent chooses would reach the upstream unseen by policy (INV-2).
"""

from __future__ import annotations

import re
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def accepted(header: bytes | None) -> str | None:
    """The caller's ``traceparent`` if it is valid (section 3.2), else None: a bad one is ignored, not repaired."""
    if header is None or len(header) != 55:
        return None
    text = header.decode("latin-1")
    return text if _TRACEPARENT.fullmatch(text) else None
