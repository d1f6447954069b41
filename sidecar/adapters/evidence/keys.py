"""The keys of one log: what signs its checkpoints, and what seals its documents.

``checkpoint.key`` and ``checkpoint.pub`` are a note key in its text forms; give the public one to whoever verifies.
``tenant.key`` is ``<tenant>+<key id>+<base64 of 32 random bytes>``: attachments are sealed under it, digests are made
with a key derived from it. The key id is public and stands in every leaf with an attachment. Erasing ``tenant.key``
makes the documents unreadable and leaves every proof valid (E23); the next start makes a new one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sidecar.adapters.evidence.disk import replace_file
from sidecar.errors import Misconfigured
from sidecar.rules.notes import NoteBrokenError, Signer, Verifier
from sidecar.rules.sealing import KEY_BYTES

SIGNING_FILE, PUBLIC_FILE, TENANT_FILE = "checkpoint.key", "checkpoint.pub", "tenant.key"
_FILE_LIMIT = 4096


_HASH_BLOCK: Final = 64  # bytes, of SHA-256


class TenantKey:
    """The tenant's key: ``id`` may be shown, ``sealing`` (32 bytes) may not."""

    __slots__ = ("_inner", "_outer", "id", "sealing")

    def __init__(self, raw: bytes) -> None:
        self.sealing = raw
        padded = HKDF(SHA256(), KEY_BYTES, None, b"policy-sidecar digest v1").derive(raw).ljust(_HASH_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        self.id = hashlib.sha256(b"policy-sidecar key id v1" + raw).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"TenantKey({self.id})"

    def digest(self, data: bytes) -> str:
        """HMAC-SHA-256 (RFC 2104), hex; begun from states made once, in a fifth of ``hmac.digest``'s time."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


def make_signer(directory: Path, origin: str) -> Signer:
    """A new checkpoint key, both halves on disk."""
    signer = Signer(origin, secrets.token_bytes(32))
    replace_file(directory / SIGNING_FILE, f"{signer.private_text}\n".encode())
    replace_file(directory / PUBLIC_FILE, f"{signer.verifier.text}\n".encode())
    return signer


def load_signer(directory: Path, origin: str) -> Signer:
    """The log's checkpoint key. Raises ``Misconfigured`` when it is missing, open to others or not this log's."""
    path = directory / SIGNING_FILE
    try:
        signer = Signer.from_text(_read_private(path))
    except NoteBrokenError as error:
        raise Misconfigured(f"{path}: {error}. Restore the file from where it was kept.") from None
    if signer.verifier.name != origin or signer.verifier.text != load_verifier(directory).text:
        raise Misconfigured(f"{path}: the key is not the one that {PUBLIC_FILE} and the log {origin} belong to.")
    return signer


def load_verifier(directory: Path) -> Verifier:
    """The public half. Raises ``Misconfigured``."""
    path = directory / PUBLIC_FILE
    try:
        return Verifier.from_text(_read(path).decode("ascii", "replace").removesuffix("\n"))
    except NoteBrokenError as error:
        raise Misconfigured(f"{path}: {error}.") from None


def make_tenant_key(directory: Path, tenant: str) -> TenantKey:
    """A new tenant key, on disk."""
    key = TenantKey(secrets.token_bytes(KEY_BYTES))
    text = f"{tenant}+{key.id}+{base64.b64encode(key.sealing).decode()}\n"
    replace_file(directory / TENANT_FILE, text.encode())
    return key


def load_tenant_key(directory: Path, tenant: str) -> TenantKey | None:
    """The tenant's key, or None once it was erased. Raises ``Misconfigured`` when the file is not its own."""
    path = directory / TENANT_FILE
    if not path.exists():
        return None
    name, _, rest = _read_private(path).partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if base64.b64encode(raw).decode() != encoded:  # one spelling only, so that any changed byte shows
        raw = b""
    if len(raw) != KEY_BYTES or (key := TenantKey(raw)).id != key_id:
        raise Misconfigured(f"{path}: not a tenant key, or a damaged one. Restore it, or remove it for a new one.")
    if name != tenant:
        raise Misconfigured(f"{path}: the key belongs to another tenant than {tenant}.")
    return key


def _read_private(path: Path) -> str:
    """A key file's text, refused if anyone but its owner may touch it."""
    data = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise Misconfigured(f"{path}: others may read this key (mode {mode:04o}). Run: chmod 600 {path}")
    return data.decode("ascii", "replace").removesuffix("\n")


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Misconfigured(f"{path}: the key file is missing. Restore it from where it was kept.") from None
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}.") from None
    try:
        return os.read(descriptor, _FILE_LIMIT)
    finally:
        os.close(descriptor)
