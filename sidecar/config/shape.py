"""Does a text look like a secret? Configuration names secrets by reference; the value itself is refused (INV-5).

Two signs: a prefix that an issuer gives its keys, or a long token whose characters vary as random ones do. A word,
a sentence, a host name, a path and a hexadecimal digest in its own field are none of these. The answer is only ever
used to choose a message or to refuse, and the text itself is never repeated.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

# Published formats: OpenAI, Anthropic, Stripe, GitHub, GitLab, AWS, Slack, Google, Hugging Face, npm, PyPI, Vault,
# SendGrid, JSON Web Tokens (RFC 7519), PEM (RFC 7468), and our own.
_ISSUED: Final = re.compile(
    r"(?:^|[\s:=\"'])(?:"
    r"sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{10,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|A[KS]IA[0-9A-Z]{12,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{30,}|hf_\w{20,}|npm_\w{20,}|pypi-[\w-]{20,}"
    r"|hv[sbr]\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]*|scp_[\w.-]*_[\w-]{43}"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-+/=.~]{20,}")
_PIECES: Final = re.compile(r"[-_./+=~]+")
_WORD: Final = re.compile(r"[A-Za-z]{0,15}\d{0,4}|\d{1,4}[A-Za-z]{1,3}")  # words, versions, parts of dates
_SCHEMES: Final = re.compile(r"(?:bearer|basic|token|apikey)\s+", re.IGNORECASE)
# Random base64 of 20 characters has about 4 bits a character in such a short sample, random hexadecimal about 3.3.
_BITS: Final = 3.3
_BITS_OF_HEXADECIMAL: Final = 2.7
_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-f]{20,}|[0-9A-F]{20,})")


SHAPED_LIKE_ONE: Final = (
    "this looks like a secret itself. Store it with `sidecar credentials put` and write its reference instead"
)


def issued(text: str) -> bool:
    """Whether ``text`` has in it a key in a format that an issuer publishes: no place of a file may hold one."""
    return len(text) >= 16 and _ISSUED.search(text) is not None


def looks_secret(text: str) -> bool:
    """Whether ``text`` is, or has in it, what an issuer would give out as a key."""
    if len(text) < 16:
        return False
    if issued(text):
        return True
    token = _SCHEMES.sub("", text, count=1)
    return _TOKEN.fullmatch(token) is not None and _random(token)


def _random(token: str) -> bool:
    if all(map(_WORD.fullmatch, _PIECES.split(token))):
        return False
    if not (any(map(str.isdigit, token)) and any(map(str.isalpha, token))):
        return False
    counts = Counter(token)
    bits = -sum(n / len(token) * math.log2(n / len(token)) for n in counts.values())
    return bits >= (_BITS_OF_HEXADECIMAL if _HEXADECIMAL.fullmatch(token) else _BITS)
