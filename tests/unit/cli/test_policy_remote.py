"""``sidecar policy push`` and ``status``: what they send where, what they print, how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.files import read_policy, revision_of
from tests.fakes.opa import TOKEN, Opa
from tests.unit.cli.builders import GOOD, policy_command


@pytest.fixture
def opa() -> Iterator[Opa]:
    with Opa(managed=True) as opa:
        yield opa


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "custom.rego").write_text(GOOD)
    (folder / "custom_test.rego").write_text("package sidecar.custom_test\n\ntest_x if true\n")
    return folder


def test_a_push_shows_what_became_of_each_module_and_what_decides(opa: Opa, folder: Path) -> None:
    revision = revision_of(read_policy(folder))
    pushed = policy_command("push", folder, "--server", opa.management)
    assert pushed.exit_code == 0, pushed.output
    assert "custom.rego" in pushed.stdout and "library/sidecar/authz/decision.rego" in pushed.stdout
    assert "custom_test.rego" not in pushed.stdout
    assert pushed.stderr == f"Deciding now: {revision}\n"
    again = json.loads(policy_command("push", folder, "--server", opa.management, "-o", "json").stdout)
    assert again["revision"] == revision and set(again["modules"].values()) == {"unchanged"}


def test_the_shipped_rules_may_stay_at_home(opa: Opa, folder: Path) -> None:
    pushed = policy_command("push", folder, "--server", opa.management, "--no-library", "-o", "json")
    assert json.loads(pushed.stdout)["modules"] == {"custom.rego": "new"}


def test_what_does_not_compile_is_never_sent(opa: Opa, folder: Path) -> None:
    (folder / "custom.rego").write_text("package sidecar.custom\n\nallow if inputs.x\n")
    pushed = policy_command("push", folder, "--server", opa.management)
    assert pushed.exit_code == 1
    assert "custom.rego:3" in pushed.stderr
    assert opa.request("GET", "/v1/policies").document["result"] == []
    assert "result" not in opa.request("GET", "/v1/data/system/bundles").document


def test_what_the_server_refuses_has_its_place_and_the_old_policy_decides(opa: Opa, folder: Path) -> None:
    policy_command("push", folder, "--server", opa.management)
    opa.request("PUT", "/v1/policies/theirs", "package sidecar.custom\n\ndefault allow := false\n")
    (folder / "custom.rego").write_text("package sidecar.custom\n\ndefault allow := true\n")
    pushed = policy_command("push", folder, "--server", opa.management)
    assert pushed.exit_code == 1
    assert "the old policy decides" in pushed.stderr and "custom.rego:3" in pushed.stderr


def test_a_status_says_whether_a_sidecar_would_let_the_server_decide(opa: Opa, folder: Path) -> None:
    before = policy_command("status", "--server", opa.management)
    assert before.exit_code == 1 and "no: it names no revision" in before.stdout
    policy_command("push", folder, "--server", opa.management)
    after = policy_command("status", "--server", opa.management, "-o", "json")
    assert after.exit_code == 0
    held = json.loads(after.stdout)
    assert held["decides"] is True and held["problem"] is None
    assert held["revision"] == held["bundles"]["sidecar-push"] == revision_of(read_policy(folder))
    assert "sidecar/custom.rego" in held["modules"]
    assert "yes" in policy_command("status", "--server", opa.management).stdout


def test_a_token_comes_from_a_file_that_others_cannot_read(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with Opa(token=True, managed=True) as opa:
        command = ("push", folder, "--server", opa.management, "--token-file", file)
        refused = policy_command(*command)
        assert refused.exit_code == 1 and "chmod 600" in refused.stderr
        file.chmod(0o600)
        assert policy_command(*command).exit_code == 0
        without = policy_command("status", "--server", opa.management)
        assert without.exit_code == 1 and "--token-file" in without.stderr


@pytest.mark.parametrize("text", ["", "\n", "two words\n", "two\nlines\n", "ümlaut\n"])
def test_a_file_without_a_token_is_told_unseen(folder: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    refused = policy_command("push", folder, "--server", "http://127.0.0.1:1", "--token-file", file)
    assert refused.exit_code == 1 and "holds no token" in refused.stderr
    assert not text.strip() or text.strip() not in refused.stderr


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("unix:///run/opa.sock", "no Unix sockets"),
        ("http://opa.example:8181", "never travel over plain http"),
        ("https://opa.example/v1", "no path"),
        ("https://OPA.example", "canonical"),
        ("opa", "--server"),
        ("http://127.0.0.1:1", "does not answer"),
    ],
)
def test_a_server_that_cannot_be_managed_is_told_with_what_to_do(folder: Path, server: str, why: str) -> None:
    refused = policy_command("push", folder, "--server", server)
    assert refused.exit_code == 1
    assert why in refused.stderr
    assert "Traceback" not in refused.output


def test_a_wrong_command_line(folder: Path, tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("")
    for more in ((), ("--server", "https://opa", "--cert", pem), ("--server", "http://127.0.0.1:1", "--ca", pem)):
        assert policy_command("push", folder, *more).exit_code == 2
    assert policy_command("status", "--server", "http://127.0.0.1:1", "--maximum-age", "0").exit_code == 2
