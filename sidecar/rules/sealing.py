"""Authenticated encryption at rest: AES-256-GCM under a key derived for each sealer.

Random 96-bit nonces under one long-lived key are safe for about 2^32 messages (NIST SP 800-38D section 8.3); an
evidence log writes that many in days, and a counter alone would repeat after a crash. So each ``Sealer`` draws a
random salt, derives its own key from the long-lived one (HKDF-SHA-256, RFC 5869) and counts its nonces from zero:
a pair of key and nonce never comes twice (C05).

Sealed bytes: ``version u8 = 1 | salt 16 | nonce 12 | ciphertext and tag``.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + _SALT_BYTES + _NONCE_BYTES


class SealBrokenError(Exception):
    """The bytes are not what was sealed, or were sealed under another key or for another context."""


def _derive(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"policy-sidecar sealing v1").derive(key))


class Sealer:
    """Seals under one 32-byte key. ``context`` is authenticated and not stored: give what the bytes belong to."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes")
        salt = secrets.token_bytes(_SALT_BYTES)
        self._head = _VERSION + salt
        self._cipher = _derive(key, salt)
        self._nonces = count()

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt and authenticate ``plain`` for ``context``."""
        nonce = next(self._nonces).to_bytes(_NONCE_BYTES, "big")
        return self._head + nonce + self._cipher.encrypt(nonce, plain, context)

    def keep(self, plain: bytes, context: bytes) -> Opener:
        """``plain`` as ciphertext that can be opened here; what is kept so shares the one cipher."""
        return Opener(self._cipher, self.seal(plain, context), context)


class Opener:
    """Opens one sealed value any number of times: its key is derived once, which is most of the work.

    It holds the ciphertext and its key, never the plain bytes.
    """

    __slots__ = ("_cipher", "_context", "_sealed")

    def __init__(self, cipher: AESGCM, sealed: bytes, context: bytes) -> None:
        self._cipher = cipher
        self._sealed = sealed
        self._context = context

    @classmethod
    def of(cls, key: bytes, sealed: bytes, context: bytes) -> Opener:
        """For what was sealed elsewhere. Raises ``SealBrokenError`` for what is not a sealed value at all."""
        if len(sealed) < _HEAD_BYTES or sealed[:1] != _VERSION:
            raise SealBrokenError("not a sealed value")
        return cls(_derive(key, sealed[1 : 1 + _SALT_BYTES]), sealed, context)

    def plain(self) -> bytes:
        """The plain bytes. Raises ``SealBrokenError`` for any flipped bit, other key or other context."""
        nonce, coded = self._sealed[1 + _SALT_BYTES : _HEAD_BYTES], self._sealed[_HEAD_BYTES:]
        try:
            return self._cipher.decrypt(nonce, coded, self._context)
        except InvalidTag:
            raise SealBrokenError("the sealed value was changed, or belongs to another key or place") from None


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plain bytes. Raises ``SealBrokenError`` for any flipped bit, other key or other context."""
    return Opener.of(key, sealed, context).plain()
