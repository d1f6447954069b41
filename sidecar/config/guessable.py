"""Whether the hash of a key is that of one which anybody can guess: an example's, a default's, an empty one's.

A hash does not show its key, so the few keys that people write down without making one are hashed and compared. They
are refused before a door opens: no shipped or copied default ever lets anybody in.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator
from typing import Final

_CHARACTERS: Final = string.ascii_letters + string.digits + "-_"  # base64url
_SECRET_CHARACTERS: Final = 43
_WORDS: Final = (
    *("", "admin", "administrator", "auditor", "change-me", "changeme", "default", "demo", "dev", "example", "key"),
    *("letmein", "operator", "pass", "password", "root", "secret", "sidecar", "test", "token"),
)


def is_guessable(key_id: str, sha256: str) -> bool:
    """Whether ``sha256`` (hex) is the hash of a guessable key of this id."""
    return any(hashlib.sha256(text.encode()).hexdigest() == sha256 for text in _guesses(key_id))


def _guesses(key_id: str) -> Iterator[str]:
    for word in (*_WORDS, key_id):
        yield word
        yield f"scp_{key_id}_{word}"
    for character in _CHARACTERS:
        yield f"scp_{key_id}_{character * _SECRET_CHARACTERS}"
