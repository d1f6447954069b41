from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from tests.unit.config.builders import changed, written

CANARY = "canary-9d41f7c0aa"
LOGIN = {"method": "token", "file": "token"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = changed("vault", {"address": "http://127.0.0.1:1", "login": LOGIN, "timeout_seconds": 1})
    written(tmp_path, changed("store", {"key_file": "master.key", "directory": "store"}, document))
    monkeypatch.chdir(tmp_path)
    assert run("credentials", "new-key").exit_code == 0
    assert run("credentials", "put", "crm", given=CANARY).exit_code == 0
    return tmp_path


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(main, arguments, input=given)


@pytest.mark.parametrize("reference", ["encrypted://crm", "crm-key"])
def test_a_reference_or_a_credentials_id_is_resolved_and_not_shown(folder: Path, reference: str) -> None:
    done = run("credentials", "test", reference, "-o", "json")
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert (shown["reference"], shown["state"], shown["version"]) == ("encrypted://crm", "resolves", "1")
    assert CANARY not in done.output
    assert "resolves" in run("credentials", "test", reference).stdout


def test_what_does_not_resolve_says_why_and_fails(folder: Path) -> None:
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(CANARY)
    done = run("credentials", "test", "vault://secret/acme/crm#token")
    assert done.exit_code == 1
    assert "cannot be reached" in done.output
    assert "store_unreachable" in done.output
    assert CANARY not in done.output


def test_c06_another_tenants_reference_is_refused(folder: Path) -> None:
    done = run("credentials", "test", "vault://secret/globex/crm#token")
    assert done.exit_code == 1
    assert "other_tenant" in done.output


def test_an_id_that_is_not_configured_is_told_with_those_that_are_and_not_repeated(folder: Path) -> None:
    done = run("credentials", "test", CANARY)
    assert done.exit_code == 1
    assert done.stderr == (
        "sidecar: that is neither a reference nor the id of a configured credential; known: crm-key\n"
    )


def test_a_section_that_is_missing_is_named(folder: Path) -> None:
    done = run("credentials", "test", "aws://acme/crm")
    assert done.exit_code == 1
    assert "aws: region" in done.output


def test_inv_5_a_secret_in_the_place_of_a_reference_is_not_repeated(folder: Path) -> None:
    done = run("credentials", "test", CANARY)
    assert done.exit_code == 1
    assert CANARY not in done.output
