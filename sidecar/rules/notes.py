"""Signed notes and checkpoints, as the transparency-log world writes them.

A note (https://c2sp.org/signed-note) is text ending in a newline, a blank line, and signature lines
``— <name> <base64(key hash 4 | signature)>``. A checkpoint (https://c2sp.org/tlog-checkpoint) is a note whose text is
``<origin>\\n<size>\\n<base64 root hash>\\n``. Keys have a text form too:
``<name>+<hash hex>+<base64(0x01 | public key)>`` for the public half, the same behind ``PRIVATE+KEY+`` with the seed
for the private half; the hash is the first four bytes of SHA-256 over ``name \\n 0x01 public key``. Only Ed25519
(algorithm 0x01) is spoken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.rules.tree import HASH_BYTES

_ED25519: Final = b"\x01"
_KEY_HASH_BYTES: Final = 4
_NOTE_LIMIT: Final = 64 * 1024
_SIGNATURE_LIMIT: Final = 32
_DASH: Final = "— "
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteBrokenError(Exception):
    """The note is not well formed, or no signature of the trusted key is on it."""


class Checkpoint(NamedTuple):
    """What a log commits to: its origin, how many leaves, and their root hash (32 bytes)."""

    origin: str
    size: int
    root: bytes


class Verifier:
    """The public half of a named key."""

    def __init__(self, name: str, public: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError("a key name is not empty and holds neither spaces nor '+'")
        self.name = name
        self._public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.hash = hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_HASH_BYTES]

    @property
    def text(self) -> str:
        """The verifier key as other tools take it."""
        return f"{self.name}+{self.hash.hex()}+{_encode(_ED25519 + self._public)}"

    @classmethod
    def from_text(cls, text: str) -> Verifier:
        """Read ``text``'s form back. Raises ``NoteBrokenError``."""
        name, key_hash, public = _split_key(text)
        verifier = cls(name, public)
        if verifier.hash != key_hash:
            raise NoteBrokenError("the key does not match its own hash")
        return verifier

    def valid(self, message: bytes, signature: bytes) -> bool:
        """Whether this key signed ``message``."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Signer:
    """The private half of a named key, from its 32-byte seed; its ``repr`` shows the name only."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name})"

    @property
    def private_text(self) -> str:
        """The signing key as it is kept in a 0600 file."""
        return f"PRIVATE+KEY+{self.verifier.name}+{self.verifier.hash.hex()}+{_encode(_ED25519 + self._seed)}"

    @classmethod
    def from_text(cls, text: str) -> Signer:
        """Read ``private_text`` back. Raises ``NoteBrokenError``, which never quotes the key."""
        prefix = "PRIVATE+KEY+"
        if not text.startswith(prefix):
            raise NoteBrokenError("not a signing key")
        name, key_hash, seed = _split_key(text.removeprefix(prefix))
        signer = cls(name, seed)
        if signer.verifier.hash != key_hash:
            raise NoteBrokenError("the key does not match its own hash")
        return signer

    def sign(self, text: str) -> bytes:
        """The whole note: ``text``, which ends in a newline, and this key's signature line."""
        if not text.endswith("\n"):
            raise ValueError("a note's text ends in a newline")
        signature = self._key.sign(text.encode())
        return f"{text}\n{_DASH}{self.verifier.name} {_encode(self.verifier.hash + signature)}\n".encode()


def open_note(note: bytes, verifier: Verifier) -> str:
    """The note's text, once a signature of ``verifier`` on it holds. Raises ``NoteBrokenError``.

    Signatures of other keys (witnesses) are carried, not judged; one of ours that fails spoils the note.
    """
    if len(note) > _NOTE_LIMIT:
        raise NoteBrokenError("the note is too large")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise NoteBrokenError("the note is not UTF-8") from None
    if any(ord(each) < 0x20 and each != "\n" for each in whole):
        raise NoteBrokenError("the note holds control characters")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteBrokenError("the note has no signature block")
    text += "\n"
    lines = tail[:-1].split("\n")
    if len(lines) > _SIGNATURE_LIMIT:
        raise NoteBrokenError("the note has too many signatures")
    if not [True for line in lines if _is_ours(line, text, verifier)]:
        raise NoteBrokenError(f"no signature of {verifier.name}+{verifier.hash.hex()} is on the note")
    return text


def checkpoint_text(checkpoint: Checkpoint) -> str:
    """The checkpoint as the text of a note."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_encode(checkpoint.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read ``checkpoint_text`` back; extension lines after it are allowed. Raises ``NoteBrokenError``."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteBrokenError("not a checkpoint: origin, size and root hash are three lines")
    origin, size, root = lines[:3]
    if not _SIZE.fullmatch(size):
        raise NoteBrokenError("the checkpoint's size is not a plain number")
    digest = _decode(root)
    if len(digest) != HASH_BYTES:
        raise NoteBrokenError("the checkpoint's root hash has another length than SHA-256")
    return Checkpoint(origin, int(size), digest)


def _is_ours(line: str, text: str, verifier: Verifier) -> bool:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name):
        raise NoteBrokenError("a signature line is not well formed")
    signature = _decode(encoded)
    if len(signature) <= _KEY_HASH_BYTES:
        raise NoteBrokenError("a signature is too short")
    if name != verifier.name or signature[:_KEY_HASH_BYTES] != verifier.hash:
        return False
    if not verifier.valid(text.encode(), signature[_KEY_HASH_BYTES:]):
        raise NoteBrokenError(f"the signature of {verifier.name} does not hold")
    return True


def _split_key(text: str) -> tuple[str, bytes, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]) or not re.fullmatch(r"[0-9a-f]{8}", parts[1]):
        raise NoteBrokenError("not a note key: <name>+<hash>+<base64>")
    material = _decode(parts[2])
    if material[:1] != _ED25519 or len(material) != 33:
        raise NoteBrokenError("not an Ed25519 note key")
    return parts[0], bytes.fromhex(parts[1]), material[1:]


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteBrokenError("not base64") from None
    if _encode(raw) != text:  # one spelling only: unused bits must be zero
        raise NoteBrokenError("not canonical base64")
    return raw
