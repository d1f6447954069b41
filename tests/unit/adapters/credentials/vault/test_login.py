from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.vault.login import METHODS, granted, proof
from sidecar.config.remotes import VaultLogin
from sidecar.model.secret import Secret

PRIVATE = VaultLogin(method="approle", role_id="r", file="proof")
MOUNTED = VaultLogin(method="kubernetes", role="r", file="proof")


def write(folder: Path, data: bytes = b"proof-12345678\n", mode: int = 0o600) -> None:
    (folder / "proof").write_bytes(data)
    (folder / "proof").chmod(mode)


def refused(login: VaultLogin, folder: Path) -> bool:
    with pytest.raises(StoreFailure) as failure:
        proof(login, folder)
    return failure.value.code == "store_login_refused"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_the_proof_is_read_anew_each_time(tmp_path: Path, mode: int) -> None:
    write(tmp_path, mode=mode)
    assert proof(PRIVATE, tmp_path) == Secret("proof-12345678")
    (tmp_path / "proof").unlink()
    write(tmp_path, b" another-12345678 \n")
    assert proof(PRIVATE, tmp_path) == Secret("another-12345678")


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_what_everybody_may_touch_is_refused_unless_the_kubelet_wrote_it(tmp_path: Path, mode: int) -> None:
    write(tmp_path, mode=mode)
    assert refused(PRIVATE, tmp_path)
    assert proof(MOUNTED, tmp_path) == Secret("proof-12345678")


def test_a_projected_token_is_behind_links(tmp_path: Path) -> None:
    write(tmp_path, mode=0o644)
    (tmp_path / "link").symlink_to(tmp_path / "proof")
    assert proof(VaultLogin(method="jwt", role="r", file="link"), tmp_path) == Secret("proof-12345678")


def test_what_is_no_proof_is_refused(tmp_path: Path) -> None:
    assert refused(PRIVATE, tmp_path)
    write(tmp_path, b" \n")
    assert refused(PRIVATE, tmp_path)
    write(tmp_path, b"x" * 70_000)
    assert refused(PRIVATE, tmp_path)
    for written in (b"\xef\xbb\xbfproof-12345678", b"proof-12345678\nanother-12345678", b"proof\0-12345678"):
        write(tmp_path, written)
        assert refused(PRIVATE, tmp_path)
    (tmp_path / "proof").unlink()
    os.mkfifo(tmp_path / "proof", 0o600)
    assert refused(PRIVATE, tmp_path)


def test_every_method_of_the_configuration_is_known() -> None:
    assert set(METHODS) == {"token", "approle", "kubernetes", "jwt"}


def test_what_a_login_grants() -> None:
    made = granted({"client_token": "token-12345678", "lease_duration": 60, "renewable": True})
    assert made == (Secret("token-12345678"), 60.0, True)
    assert "token-12345678" not in repr(made)
