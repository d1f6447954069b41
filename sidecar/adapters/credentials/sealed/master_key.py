"""The master key of the sealed store: a text file of ours, mode 0600 or 0400, that holds 32 random bytes.

A line is ``<id> <key>``, or only ``<key>``: base64 or hex. The id is a fingerprint of the key, so a damaged key is
noticed, and a sealed file can say which key wraps it. The first line is the key in use; more lines are there only
while the store is wrapped anew, so that no moment exists in which a file's key is in neither place.

A symbolic link is followed (orchestrators mount secrets through links); the file it leads to must satisfy the same
checks. Refused besides: a key of another length, and one that no random source would ever draw: few different bytes,
a repeated or counting pattern, or readable text.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.adapters.credentials.sealed.private_files import read_private, write_private
from sidecar.errors import Misconfigured
from sidecar.model.secret import Secret
from sidecar.rules.sealing import KEY_BYTES

_FILE_LIMIT: Final = 4096
_FEWEST_DIFFERENT: Final = 16  # of 32 random bytes about 30 differ; fewer than 16 do once in 10^16 draws
_HEX: Final = re.compile(rb"[0-9a-fA-F]{64}")


class MasterKey(NamedTuple):
    """32 bytes, and the name by which sealed files ask for them."""

    id: str
    secret: Secret


def generate() -> MasterKey:
    """A fresh random key."""
    return _named(secrets.token_bytes(KEY_BYTES))


def create(path: Path) -> MasterKey:
    """Write a fresh key to a new file. Raises ``Misconfigured`` where there is one already: it is never replaced."""
    key = generate()
    try:
        write_private(path, _text([key]), replace=False)
    except FileExistsError:
        raise Misconfigured(
            f"{path} exists and is kept: without it no credential can be opened. To change the master key, use "
            "`sidecar credentials rotate --master`"
        ) from None
    return key


def store(path: Path, keys: Sequence[MasterKey]) -> None:
    """Replace the file (the one a link leads to) by these keys, the one in use first; whole or not at all."""
    write_private(path.resolve(), _text(keys))


def load(path: Path) -> tuple[MasterKey, ...]:
    """The keys of the file, the one in use first. Raises ``Misconfigured``; no message shows a key."""
    try:
        data, _ = read_private(path, _FILE_LIMIT, follow=True)
    except FileNotFoundError:
        raise Misconfigured(
            f"there is no master key at {path}. Make one with `sidecar credentials new-key`, or restore yours: "
            "credentials sealed under a lost key are lost"
        ) from None
    keys = tuple(_parse(path, number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip())
    if not keys:
        raise Misconfigured(f"{path} is empty; a master key is expected")
    if len({key.id for key in keys}) < len(keys):
        raise Misconfigured(f"{path} holds a key twice")
    return keys


def _parse(path: Path, number: int, line: bytes) -> MasterKey:
    *name, text = line.split()
    key = _decoded(text)
    if len(name) > 1 or key is None:
        raise Misconfigured(f"{path}:{number}: expected an id and {KEY_BYTES} bytes in base64 or hex")
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"{path}:{number}: the master key has {len(key)} bytes; it must have {KEY_BYTES}")
    if _is_predictable(key):
        raise Misconfigured(
            f"{path}:{number}: the master key is not random; make one with `sidecar credentials new-key`"
        )
    named = _named(key)
    if name and name[0] != named.id.encode():
        raise Misconfigured(f"{path}:{number}: the master key is not the one its id names; the file is damaged")
    return named


def _decoded(text: bytes) -> bytes | None:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text.decode())
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return None


def _is_predictable(key: bytes) -> bool:
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    readable = all(0x20 <= byte < 0x7F for byte in key)
    return len(set(key)) < _FEWEST_DIFFERENT or len(steps) < _FEWEST_DIFFERENT // 2 or readable


def _named(key: bytes) -> MasterKey:
    fingerprint = hashlib.sha256(b"policy-sidecar master key id v1\0" + key).hexdigest()
    return MasterKey(f"mk-{fingerprint[:16]}", Secret(key))


def _text(keys: Sequence[MasterKey]) -> bytes:
    return b"".join(b"%s %s\n" % (key.id.encode(), b64encode(key.secret.reveal())) for key in keys)
