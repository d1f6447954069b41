"""What kinds of credential there are, what a value of each looks like, and when it ends of itself.

A value of the wrong form fails at the first call, far from who wrote it, and an upstream's 401 does not say why; so
the form is checked where a value is stored. No message repeats a value or a part of one (INV-5).

============ =============================================================================================
API_KEY      what a header's value may be: visible ASCII, spaces within (RFC 9110 section 5.5)
OAUTH        the client's secret of the client-credentials grant: visible ASCII and spaces (RFC 6749 appendix A.2)
DATABASE     a password, or ``scheme://user:password@host``: no control characters
BEARER_TOKEN letters, digits and ``-._~+/``, then ``=`` (RFC 6750 section 2.1)
BASIC_AUTH   a password, or ``user:password``: no control characters (RFC 7617 section 2)
SSH_KEY      one private key without a passphrase, in PEM or OpenSSH's form
CERTIFICATE  PEM: one private key without a passphrase, and the certificate it belongs to before any others
CUSTOM       anything
============ =============================================================================================

What stands for a value is none of any kind but CUSTOM: a reference, the mask, a template's place that nobody filled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from sidecar.errors import Misconfigured, Reason

_FIELD: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_VISIBLE_OR_SPACE: Final = re.compile(rb"[\x20-\x7e]+")
_BEARER: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_DSN: Final = re.compile(rb"[a-z][a-z0-9+.-]*://[^\s/]+@[^\s@]+", re.IGNORECASE)
_PRIVATE: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----")
_STANDS_FOR_ONE: Final = (
    (re.compile(rb"(?:vault|aws|encrypted|env)://.*"), "this is a reference to a value"),
    (re.compile(rb"\*+"), "this is the mask that is shown in place of a value"),
    (re.compile(rb"\$\w+|\$?\{+[^{}]*\}+|<[^<>]*>"), "this is the place of a template where a value belongs"),
)
_BEGINS: Final = b"CERTIFICATE-----"
_MICROSECONDS: Final = 1_000_000


def _api_key(plain: bytes) -> str | None:
    if len(plain) > 1 and plain[:1] in b"\"'" and plain[:1] == plain[-1:]:
        return "leave the quotation marks around it out"
    return None if _FIELD.fullmatch(plain) else "it is visible ASCII, with spaces only within"


def _oauth(plain: bytes) -> str | None:
    return None if _VISIBLE_OR_SPACE.fullmatch(plain) else "it is visible ASCII (RFC 6749 appendix A.2)"


def _bearer_token(plain: bytes) -> str | None:
    if plain[:7].lower() == b"bearer ":
        return "leave the word Bearer out: it is put before the token by the sidecar"
    return None if _BEARER.fullmatch(plain) else "it has letters, digits and -._~+/ only (RFC 6750 section 2.1)"


def _basic_auth(plain: bytes) -> str | None:
    if plain[:6].lower() == b"basic ":
        return "it is the password, or user:password, and is encoded by the sidecar"
    return "it has no control characters (RFC 7617 section 2)" if _CONTROL.search(plain) else None


def _database(plain: bytes) -> str | None:
    if _CONTROL.search(plain):
        return "it has no control characters"
    if b"://" in plain and not _DSN.fullmatch(plain):
        return "it is a password, or scheme://user:password@host"
    return None


def _ssh_key(plain: bytes) -> str | None:
    try:
        if b"BEGIN OPENSSH PRIVATE KEY" in plain:
            load_ssh_private_key(plain, None)
        else:
            load_pem_private_key(plain, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "it is one private key without a passphrase, in PEM or OpenSSH's form"
    return None


def _certificate(plain: bytes) -> str | None:
    try:
        own = x509.load_pem_x509_certificates(plain)[0]
        starts = [found.start() for found in _PRIVATE.finditer(plain)]
        if len(starts) != 1:
            return "it is PEM with one private key beside its certificates"
        key = load_pem_private_key(plain[starts[0] :], None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "it is PEM: a private key without a passphrase, its certificate, and any that vouch for that"
    if _shown(key.public_key()) != _shown(own.public_key()):
        return "its first certificate is not the private key's"
    return None


def _shown(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


FORMS: Final[Mapping[str, Callable[[bytes], str | None]]] = {
    "API_KEY": _api_key,
    "OAUTH": _oauth,
    "DATABASE": _database,
    "BEARER_TOKEN": _bearer_token,
    "BASIC_AUTH": _basic_auth,
    "SSH_KEY": _ssh_key,
    "CERTIFICATE": _certificate,
    "CUSTOM": lambda _: None,
}
KINDS: Final = tuple(FORMS)


def check_form(kind: str, plain: bytes) -> None:
    """Raises ``Misconfigured`` unless ``plain`` can be a value of ``kind``; the message says what one looks like."""
    wrong = _stands_for_one(plain) if kind != "CUSTOM" else None
    wrong = wrong or FORMS[kind](plain)
    if wrong is not None:
        message = f"the value is no {kind}: {wrong}"
        raise Misconfigured(message, [Reason("wrong_form", message)])


def _stands_for_one(plain: bytes) -> str | None:
    """Why it is no value but something that stands for one: what a script puts in where it was not given any."""
    text = plain.strip()
    return next((why for pattern, why in _STANDS_FOR_ONE if pattern.fullmatch(text)), None)


def ends(kind: str | None, plain: bytes) -> int | None:
    """When a value ends of itself, in microseconds since the epoch; None where its form does not say.

    Of a certificate, also where nobody said its kind: when the first of its chain does. A value of another form than
    its kind's says nothing.
    """
    if kind not in (None, "CERTIFICATE") or _BEGINS not in plain:
        return None
    try:
        chain = x509.load_pem_x509_certificates(plain)
    except ValueError:
        return None
    earliest = min(one.not_valid_after_utc for one in chain)
    return int((earliest - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * _MICROSECONDS
