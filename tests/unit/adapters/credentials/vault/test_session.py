from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.vault.session import VaultSession
from sidecar.config.remotes import VaultLogin, VaultSection
from tests.fakes.clock import HeldClock

NOWHERE = "http://127.0.0.1:1"


def session(folder: Path, clock: HeldClock) -> VaultSession:
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text("token-12345678")
    login = VaultLogin(method="token", file="token")
    return VaultSession(VaultSection(address=NOWHERE, login=login, timeout_seconds=1), folder, clock.monotonic)


def test_a_server_that_is_not_there_is_an_outage_and_no_refused_login(tmp_path: Path) -> None:
    made = session(tmp_path, HeldClock())
    for _ in range(2):
        with pytest.raises(StoreFailure) as failure:
            made.run(lambda client: client.sys.read_health_status())
        assert failure.value.code == "store_unreachable"
    assert made.number == 0
    made.close()


def test_a_proof_that_is_missing_is_a_refused_login(tmp_path: Path) -> None:
    made = session(tmp_path, HeldClock())
    (tmp_path / "token").unlink()
    with pytest.raises(StoreFailure) as failure:
        made.run(lambda client: client.sys.read_health_status())
    assert failure.value.code == "store_login_refused"
    made.close()


def test_nothing_of_a_session_shows_its_token(tmp_path: Path) -> None:
    made = session(tmp_path, HeldClock())
    assert "token-12345678" not in repr(vars(made))
    made.close()
