"""The keys of a log: kept from others, recognised, erasable."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sidecar.adapters.evidence import keys
from sidecar.errors import Misconfigured


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    keys.make_signer(tmp_path, "acme-00112233")
    keys.make_tenant_key(tmp_path, "acme")
    return tmp_path


def test_keys_come_back(directory: Path) -> None:
    assert keys.load_signer(directory, "acme-00112233").verifier.text == keys.load_verifier(directory).text
    first, second = keys.load_tenant_key(directory, "acme"), keys.load_tenant_key(directory, "acme")
    assert first is not None
    assert second is not None
    assert (first.sealing, first.digest(b"x"), first.id) == (second.sealing, second.digest(b"x"), second.id)


def test_the_uses_of_a_tenant_key_are_apart_and_none_is_shown(directory: Path) -> None:
    key = keys.load_tenant_key(directory, "acme")
    assert key is not None
    assert key.digest(b"x") != hmac.digest(key.sealing, b"x", "sha256").hex()
    assert repr(key) == f"TenantKey({key.id})"
    assert key.id not in key.sealing.hex()


@pytest.mark.parametrize("name", [keys.SIGNING_FILE, keys.TENANT_FILE])
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o644, 0o601])
def test_a_key_that_others_may_touch_is_refused(directory: Path, name: str, mode: int) -> None:
    (directory / name).chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        if name == keys.SIGNING_FILE:
            keys.load_signer(directory, "acme-00112233")
        else:
            keys.load_tenant_key(directory, "acme")


def test_key_files_are_made_private(directory: Path) -> None:
    for name in (keys.SIGNING_FILE, keys.TENANT_FILE):
        assert (directory / name).stat().st_mode & 0o777 == 0o600


def test_every_flipped_byte_of_a_key_file_is_refused_and_never_shown(directory: Path) -> None:
    for name in (keys.SIGNING_FILE, keys.PUBLIC_FILE, keys.TENANT_FILE):
        path = directory / name
        good = path.read_bytes()
        for position in range(len(good)):
            changed = bytearray(good)
            for bit in range(8):
                changed[position] = good[position] ^ 1 << bit
                path.write_bytes(bytes(changed))
                with pytest.raises(Misconfigured) as refused:
                    keys.load_signer(directory, "acme-00112233")
                    keys.load_tenant_key(directory, "acme")
                assert good.decode().split("+")[-1].strip() not in str(refused.value)
        path.write_bytes(good)


def test_a_key_of_another_log_or_tenant_is_refused(directory: Path) -> None:
    with pytest.raises(Misconfigured, match="not the one"):
        keys.load_signer(directory, "acme-99999999")
    with pytest.raises(Misconfigured, match="another tenant"):
        keys.load_tenant_key(directory, "globex")


def test_a_missing_signing_key_is_refused_and_an_erased_tenant_key_is_none(directory: Path) -> None:
    (directory / keys.TENANT_FILE).unlink()
    assert keys.load_tenant_key(directory, "acme") is None
    (directory / keys.SIGNING_FILE).unlink()
    with pytest.raises(Misconfigured, match="missing"):
        keys.load_signer(directory, "acme-00112233")


def test_a_digest_is_hmac_sha_256_under_a_key_of_its_own() -> None:
    raw = bytes(range(32))
    derived = HKDF(SHA256(), 32, None, b"policy-sidecar digest v1").derive(raw)
    for data in (b"", b"4711", b"x" * 5000):
        assert keys.TenantKey(raw).digest(data) == hmac.digest(derived, data, "sha256").hex()
