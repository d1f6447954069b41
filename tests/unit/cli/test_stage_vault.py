from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.cli.stage import Stage
from sidecar.cli.stage_vault import DemoVault, executable
from sidecar.config.load import read
from sidecar.errors import Unavailable
from tests.fixtures.programs import program


def test_a_vault_is_found_on_the_path_or_where_it_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert executable() is None
    built = tmp_path / "cache" / "policy-sidecar" / "fixtures"
    built.mkdir(parents=True)
    for name in ("vault-1.20.0", "vault-1.21.2", "vault-plugin-auth-kubernetes-0.23.1"):
        (built / name).touch(mode=0o700)
    assert executable() == built / "vault-1.21.2"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vault").touch(mode=0o700)
    assert executable() == tmp_path / "bin" / "vault"


def test_with_a_vault_the_configuration_refers_to_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Path("/nowhere/vault"))
    stage.build()
    config = read(tmp_path / "sidecar.yaml", {}, {}).config
    assert config.credentials["httpbin-token"].reference == "vault://secret/acme/httpbin#token"
    assert config.vault is not None
    assert config.vault.login.method == "approle"
    assert not (tmp_path / "credentials").exists()


def test_what_the_vault_refuses_is_told(tmp_path: Path) -> None:
    refusing = tmp_path / "vault"
    refusing.write_text("#!/bin/sh\necho no such thing >&2\nexit 2\n")
    refusing.chmod(0o700)
    with pytest.raises(Unavailable, match="no such thing"):
        DemoVault(refusing, 1).provide("canary-12345678", tmp_path)


def test_neither_secret_nor_token_is_an_argument_of_a_process() -> None:
    vault = DemoVault(Path("vault"), 8200)
    assert vault.environment["VAULT_TOKEN"] not in " ".join(vault.command)


@pytest.mark.needs_vault
def test_a_real_vault_gives_the_demos_sidecar_its_secret(tmp_path: Path) -> None:
    stage = Stage(tmp_path, program("vault"))
    stage.build()
    try:
        stage.start_vault()
        from click.testing import CliRunner

        from sidecar.cli import main

        done = CliRunner().invoke(
            main, ["credentials", "test", "-c", str(tmp_path / "sidecar.yaml"), "httpbin-token", "-o", "json"]
        )
        assert done.exit_code == 0, done.output
        assert stage.secret not in done.output
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and stage.secret in path.read_text()]
    finally:
        stage.stop()
