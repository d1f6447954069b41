"""What a sealed credential looks like at rest, and how it is opened.

One JSON document a file. The value is sealed under a random key of its own, and that key under the master key whose
id the file names, so that a new master key needs only the small keys wrapped anew. Everything else the file says is
authenticated with the value: a file that was renamed, edited or put together from two does not open. The document
has exactly one spelling; any other is refused, so that no bit of a file can be changed unnoticed (C05).

Not noticed: that a whole file, or the whole directory, was replaced by an older copy of itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from sidecar.adapters.credentials.master_key import MasterKey
from sidecar.model.secret import Secret
from sidecar.rules.sealing import KEY_BYTES, Opener, SealBrokenError, Sealer

FILE_LIMIT: Final = 1 << 18  # bytes of a whole file

Kind = Literal["API_KEY", "OAUTH", "DATABASE", "BEARER_TOKEN", "BASIC_AUTH", "SSH_KEY", "CERTIFICATE", "CUSTOM"]


class About(Struct, frozen=True, kw_only=True):
    """What may be shown of a credential. Times are UTC, RFC 3339."""

    id: str
    kind: Kind
    version: Annotated[int, Meta(ge=1)]
    created: str
    updated: str


class SealedFile(About, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document: ``wrapped_key`` opens under ``master_key``, and ``value`` under what it wraps."""

    format: Literal["policy-sidecar sealed credential 1"] = "policy-sidecar sealed credential 1"
    master_key: str
    wrapped_key: bytes
    value: bytes


_DECODER: Final = msgspec.json.Decoder(SealedFile)


class UnknownKeyError(Exception):
    """The file names a master key that is not at hand."""


def seal(about: About, secret: Secret, master: MasterKey) -> SealedFile:
    """Seal a secret under a fresh key of its own."""
    key = secrets.token_bytes(KEY_BYTES)
    return SealedFile(
        id=about.id,
        kind=about.kind,
        version=about.version,
        created=about.created,
        updated=about.updated,
        master_key=master.id,
        wrapped_key=_wrap(about, key, master),
        value=Sealer(key).seal(secret.reveal(), _value_context(about)),
    )


def opener(file: SealedFile, masters: Iterable[MasterKey]) -> Opener:
    """What opens the value. Raises ``UnknownKeyError`` or ``SealBrokenError``."""
    return Opener(_unwrap(file, masters), file.value, _value_context(file))


def rewrap(file: SealedFile, masters: Iterable[MasterKey], master: MasterKey) -> SealedFile:
    """The same value under another master key. Raises ``UnknownKeyError`` or ``SealBrokenError``."""
    wrapped = _wrap(file, _unwrap(file, masters), master)
    return msgspec.structs.replace(file, master_key=master.id, wrapped_key=wrapped)


def encode(file: SealedFile) -> bytes:
    """The one spelling of a file."""
    return msgspec.json.encode(file) + b"\n"


def decode(data: bytes, name: str) -> SealedFile:
    """The file that must be called ``name``. Raises ``SealBrokenError`` for any other spelling or name."""
    try:
        file = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the latter for a member's name that is not UTF-8
        raise SealBrokenError("not a sealed credential") from None
    if file.id != name or encode(file) != data:
        raise SealBrokenError("the sealed credential was changed, or is another one")
    return file


def _wrap(about: About, key: bytes, master: MasterKey) -> bytes:
    return Sealer(master.secret.reveal()).seal(key, _key_context(about, master.id))


def _unwrap(file: SealedFile, masters: Iterable[MasterKey]) -> bytes:
    for master in masters:
        if master.id == file.master_key:
            context = _key_context(file, master.id)
            return Opener(master.secret.reveal(), file.wrapped_key, context).plain()
    raise UnknownKeyError("the credential is sealed under a master key that is not in the key file")


def _key_context(about: About, master: str) -> bytes:
    return _context("key", about.id, str(about.version), master)


def _value_context(about: About) -> bytes:
    return _context("value", about.id, str(about.version), about.kind, about.created, about.updated)


def _context(*parts: str) -> bytes:
    return "\0".join(("policy-sidecar credential", *parts)).encode()
