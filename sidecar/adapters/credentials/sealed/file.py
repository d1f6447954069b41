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
from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sidecar.adapters.credentials.sealed.master_key import MasterKey
from sidecar.model.credential import Terms
from sidecar.model.secret import Secret
from sidecar.rules.sealing import KEY_BYTES, Opener, SealBrokenError, Sealer

FILE_LIMIT: Final = 1 << 18  # bytes of a whole file

Kind = Literal["API_KEY", "OAUTH", "DATABASE", "BEARER_TOKEN", "BASIC_AUTH", "SSH_KEY", "CERTIFICATE", "CUSTOM"]


class Head(Struct, frozen=True, kw_only=True):
    """What may be shown of a credential. ``created`` and ``updated`` are UTC, RFC 3339; the terms are as
    ``sidecar.model.credential.Terms`` has them, and left out of the document where nobody said them.
    """

    id: str
    kind: Kind
    version: Annotated[int, Meta(ge=1)]
    created: str
    updated: str
    expires: int | UnsetType = UNSET
    rotate_days: int | UnsetType = UNSET

    @classmethod
    def of(cls, id: str, terms: Terms, *, version: int, created: str, updated: str) -> Head:
        """A head with checked terms; nobody having said the kind, it is an API key."""
        return Head(
            id=id,
            kind=cast(Kind, terms.kind or "API_KEY"),
            version=version,
            created=created,
            updated=updated,
            expires=UNSET if terms.expires is None else terms.expires,
            rotate_days=UNSET if terms.rotate_days is None else terms.rotate_days,
        )

    def head(self) -> Head:
        """This alone, where it is part of more."""
        return Head(**{name: getattr(self, name) for name in Head.__struct_fields__})

    def terms(self) -> Terms:
        """What was said of the value."""
        return Terms(kind=self.kind, expires=_said(self.expires), rotate_days=_said(self.rotate_days))


class SealedFile(Head, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document: ``wrapped_key`` opens under ``master_key``, and ``value`` under what it wraps."""

    format: Literal["policy-sidecar sealed credential 1"] = "policy-sidecar sealed credential 1"
    master_key: str
    wrapped_key: bytes
    value: bytes


_TERMS: Final = ("expires", "rotate_days")  # authenticated where they are said: older files have none
_DECODER: Final = msgspec.json.Decoder(SealedFile)


class UnknownKeyError(Exception):
    """The file names a master key that is not at hand."""


def seal(head: Head, secret: Secret, master: MasterKey) -> SealedFile:
    """Seal a secret under a fresh key of its own."""
    key = secrets.token_bytes(KEY_BYTES)
    return SealedFile(
        **{name: getattr(head, name) for name in Head.__struct_fields__},
        master_key=master.id,
        wrapped_key=_wrap(head, key, master),
        value=Sealer(key).seal(secret.reveal(), _value_context(head)),
    )


def opener(file: SealedFile, masters: Iterable[MasterKey]) -> Opener:
    """What opens the value. Raises ``UnknownKeyError`` or ``SealBrokenError``."""
    return Opener.of(_unwrap(file, masters), file.value, _value_context(file))


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


def _said(value: int | UnsetType) -> int | None:
    return None if value is UNSET else value


def _wrap(head: Head, key: bytes, master: MasterKey) -> bytes:
    return Sealer(master.secret.reveal()).seal(key, _key_context(head, master.id))


def _unwrap(file: SealedFile, masters: Iterable[MasterKey]) -> bytes:
    for master in masters:
        if master.id == file.master_key:
            context = _key_context(file, master.id)
            return Opener.of(master.secret.reveal(), file.wrapped_key, context).plain()
    raise UnknownKeyError("the credential is sealed under a master key that is not in the key file")


def _key_context(head: Head, master: str) -> bytes:
    return _context("key", head.id, str(head.version), master)


def _value_context(head: Head) -> bytes:
    said = [f"{name}={value}" for name in _TERMS if (value := getattr(head, name)) is not UNSET]
    return _context("value", head.id, str(head.version), head.kind, head.created, head.updated, *said)


def _context(*parts: str) -> bytes:
    return "\0".join(("policy-sidecar credential", *parts)).encode()
