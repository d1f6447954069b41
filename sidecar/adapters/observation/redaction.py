"""No secret in a log line: by type, by the name of its field, and by its shape.

The first two cover what our own code says; the shapes are the net under messages of other libraries.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.model.secret import MASK, Secret

_SECRET_NAME: Final = re.compile(
    r"secret|passw|passphrase|token|api[_-]?key|private[_-]?key|master[_-]?key|authorization|cookie", re.IGNORECASE
)
_SHAPES: Final = (
    (re.compile(rb"scp_[A-Za-z0-9.-]+_[A-Za-z0-9_-]{16,}={0,2}"), b"scp_" + MASK.encode()),
    (re.compile(rb"\b(bearer|basic) [A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rb"\1 " + MASK.encode()),
    (re.compile(rb'://[^/\s"@\\]+@'), b"://" + MASK.encode() + b"@"),
    (re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*"), MASK.encode()),
)
_DEPTH: Final = 8
_LARGEST: Final = (1 << 63) - 1


def redact_line(line: bytes) -> bytes:
    """A rendered JSON line with everything masked that is shaped like a key, an authorization or URL user info."""
    for shape, mask in _SHAPES:
        line = shape.sub(mask, line)
    return line


def redact(value: Any, depth: int = _DEPTH) -> Any:
    """A copy that JSON can show, with ``Secret`` values and the texts of secret-sounding names masked."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value <= _LARGEST else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Secret) or depth == 0:
        return MASK
    if isinstance(value, dict):
        return {_text(str(name)): _named(str(name), item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth - 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"({len(value)} bytes)"
    return f"({type(value).__name__})"


def _text(value: str) -> str:
    """Without lone surrogates, which JSON cannot carry."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _named(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAME.search(name) and not (value is None or isinstance(value, bool | int | float)):
        return MASK
    return redact(value, depth)
