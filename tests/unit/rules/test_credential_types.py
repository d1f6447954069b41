"""Values of each kind: what fits, what does not, and no word of either in a message."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sidecar.adapters.credentials.sealed.file import Kind
from sidecar.errors import Misconfigured
from sidecar.rules.credential_types import KINDS, check_form, ends
from tests.fakes.certificates import Authority


@cache
def pem() -> bytes:
    with TemporaryDirectory() as folder:
        return Authority(Path(folder)).client()


def _cut() -> int:
    return pem().index(b"-----BEGIN CERTIFICATE")


def _ssh(form: PrivateFormat = PrivateFormat.OpenSSH, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, form, encryption)


def _other_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem()[_cut() :]


FITS: list[tuple[str, Callable[[], bytes]]] = [
    ("API_KEY", lambda: b"sk-proj-9f86d081!#"),
    ("OAUTH", lambda: b"a client secret"),
    ("DATABASE", lambda: b"a pass:word/@"),
    ("DATABASE", lambda: b"postgresql://u:p%40ss@db.example:5432/app"),
    ("BEARER_TOKEN", lambda: b"eyJhbGciOi.J9-_~+/abc=="),
    ("BASIC_AUTH", lambda: b"user:pass word"),
    ("BASIC_AUTH", lambda: "pass-wörd".encode()),
    ("SSH_KEY", _ssh),
    ("SSH_KEY", lambda: _ssh(PrivateFormat.PKCS8)),
    ("CERTIFICATE", pem),
    ("CERTIFICATE", lambda: pem()[_cut() :] + pem()[: _cut()]),
    ("CUSTOM", lambda: b"\xff\x00 anything"),
    ("CUSTOM", lambda: b"{}"),
    ("API_KEY", lambda: b"a <key> with ${such} {things}"),
    ("API_KEY", lambda: b"a 'key'"),
]
FAILS: list[tuple[str, Callable[[], bytes]]] = [
    ("API_KEY", lambda: b"canary\r\nwith: lines"),
    ("API_KEY", lambda: "canary-ü".encode()),
    ("API_KEY", lambda: b"canary "),  # HTTP takes white space at either end off
    ("API_KEY", lambda: b" canary"),
    ("API_KEY", lambda: b"can\tary"),  # nor is a tab ever sent
    ("API_KEY", lambda: b'"canary"'),
    ("API_KEY", lambda: b"'canary'"),
    ("API_KEY", lambda: b"vault://secret/canary#token"),
    ("DATABASE", lambda: b"encrypted://canary"),
    ("BASIC_AUTH", lambda: b"${canary}"),
    ("OAUTH", lambda: b"$CANARY"),
    ("API_KEY", lambda: b"{{ canary }}"),
    ("BASIC_AUTH", lambda: b"<canary>"),
    ("OAUTH", lambda: b"********"),
    ("OAUTH", lambda: b"canary\r\nx"),
    ("DATABASE", lambda: b"canary\n"),
    ("DATABASE", lambda: b"postgresql://canary"),
    ("BEARER_TOKEN", lambda: b"Bearer canary"),
    ("BEARER_TOKEN", lambda: b"canary token"),
    ("BEARER_TOKEN", lambda: b"=canary"),
    ("BASIC_AUTH", lambda: b"Basic canary"),
    ("BASIC_AUTH", lambda: b"canary\0"),
    ("SSH_KEY", lambda: b"canary"),
    ("SSH_KEY", lambda: _ssh(PrivateFormat.PKCS8, b"canary")),
    ("CERTIFICATE", lambda: b"canary"),
    ("CERTIFICATE", lambda: pem()[: _cut()]),
    ("CERTIFICATE", lambda: pem()[_cut() :]),
    ("CERTIFICATE", lambda: pem()[: _cut()] + pem()),
    ("CERTIFICATE", _other_key),
]


@pytest.mark.parametrize(("kind", "make"), FITS)
def test_what_fits_is_taken(kind: str, make: Callable[[], bytes]) -> None:
    check_form(kind, make())


@pytest.mark.parametrize(("kind", "make"), FAILS)
def test_what_does_not_fit_is_refused_and_not_repeated(kind: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(Misconfigured) as refusal:
        check_form(kind, make())
    assert kind in str(refusal.value)
    assert "canary" not in f"{refusal.value!r} {refusal.value.reasons}"


def test_the_kinds_are_those_of_the_store() -> None:
    assert set(KINDS) == set(get_args(Kind))


def test_a_certificate_ends_with_the_first_of_its_chain() -> None:
    ending = ends("CERTIFICATE", pem())
    assert ending is not None
    assert 1.9 * 86400 < ending / 1_000_000 - time.time() < 2.1 * 86400
    with TemporaryDirectory() as folder:
        sooner = Authority(Path(folder)).client(days=1)
    chain_end = ends("CERTIFICATE", pem() + sooner[sooner.index(b"-----BEGIN CERT") :])
    assert chain_end is not None
    assert chain_end < ending


@pytest.mark.parametrize("kind", KINDS)
def test_other_values_do_not_say_when_they_end(kind: str) -> None:
    assert ends(kind, b"no certificate") is None
