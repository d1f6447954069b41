"""``sidecar policy build`` makes what a sidecar activates; ``opa`` is OPA."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.adapters.policy.bundles import Opened, Terms
from tests.fakes.bundles import key, private_pem, unpacked, written_key
from tests.unit.cli.builders import CASES, policy_command


def terms(keys: dict[str, tuple[str, Path]] | None = None) -> Terms:
    return Terms(keys or {}, "", True, 30.0, None, "acme", 1.0)


def test_a_bundle_is_what_a_sidecar_activates(policy: Path, tmp_path: Path) -> None:
    (policy / "cases.yaml").write_text(CASES.format("no_grant"))
    (policy / "mine").mkdir()
    (policy / "mine" / "data.yaml").write_text("answer: no\n")
    out = tmp_path / "out.tar.gz"
    before = int(time.time())
    result = policy_command("build", policy, "-o", out, "--revision", "v1")
    assert (result.exit_code, result.stdout) == (0, "")
    files = unpacked(out.read_bytes())
    assert sorted(Path(name).name for name in files) == [".manifest", "custom.rego", "custom_test.rego", "data.json"]
    opened = Opened(terms(), out.read_bytes())
    assert opened.about.revision == "v1"
    assert before <= (opened.about.sequence or 0) <= time.time()
    _, passed = opened.load()
    assert passed == 2
    [data] = [content for name, content in files.items() if name.endswith("data.json")]
    assert json.loads(data) == {"mine": {"answer": "no"}}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_signed_bundle_is_verified_by_its_key(policy: Path, tmp_path: Path, algorithm: str) -> None:
    secret = tmp_path / "private.pem"
    secret.write_bytes(private_pem(key(f"of-{algorithm}", algorithm)))
    public = written_key(tmp_path, f"of-{algorithm}", algorithm)
    options = ("--sequence", 7, "--signing-key", secret, "--algorithm", algorithm, "--key-id", "ours")
    out = tmp_path / "out.tar.gz"
    result = policy_command("build", policy, "-o", out, *options)
    assert (result.exit_code, "signed" in result.stderr) == (0, True)
    assert Opened(terms({"ours": (algorithm, public)}), out.read_bytes()).about.sequence == 7


def test_a_new_key_signs_what_its_public_half_verifies(policy: Path, tmp_path: Path) -> None:
    made = policy_command("new-key", tmp_path / "v.2")
    assert (made.exit_code, made.stdout) == (0, "")
    secret, public = tmp_path / "v.2.key", tmp_path / "v.2.pub"
    assert secret.stat().st_mode & 0o777 == 0o600
    out = tmp_path / "out.tar.gz"
    assert policy_command("build", policy, "-o", out, "--signing-key", secret).exit_code == 0
    assert Opened(terms({"release": ("ES256", public)}), out.read_bytes()).load()[1] == 2


def test_a_key_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "release.key").write_text("mine")
    result = policy_command("new-key", tmp_path / "release")
    assert result.exit_code == 1
    assert "release.key cannot be written: File exists" in result.stderr
    assert (tmp_path / "release.key").read_text() == "mine"
    assert not (tmp_path / "release.pub").exists()


def test_what_is_wrong_is_not_built(policy: Path, tmp_path: Path) -> None:
    (policy / "custom.rego").write_text("package sidecar.custom\n\nallow if input.tennant\n")
    out = tmp_path / "out.tar.gz"
    out.write_bytes(b"the last good one")
    result = policy_command("build", policy, "-o", out)
    assert result.exit_code == 1
    assert "custom.rego:3" in result.stderr
    assert out.read_bytes() == b"the last good one"


def test_a_key_that_is_none_is_told(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    result = policy_command("build", policy, "-o", tmp_path / "out.tar.gz", "--signing-key", tmp_path / "key")
    assert result.exit_code == 1
    assert "is not built" in result.stderr
    assert not (tmp_path / "out.tar.gz").exists()


def test_a_file_that_cannot_be_written_is_told(policy: Path, tmp_path: Path) -> None:
    result = policy_command("build", policy, "-o", tmp_path / "nowhere" / "out.tar.gz")
    assert result.exit_code == 1
    assert "cannot be written: No such file" in result.stderr


def test_opa_is_opa_with_its_own_exit_codes() -> None:
    command = [sys.executable, "-m", "sidecar", "policy", "opa"]
    ran = subprocess.run([*command, "eval", "--format", "raw", "1 + 1"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "2", "")
    helped = subprocess.run([*command, "eval", "--help"], capture_output=True, text=True, check=False)
    assert (helped.returncode, "opa eval <query>" in helped.stdout) == (0, True)
    assert subprocess.run([*command, "eval", "1 +"], capture_output=True, check=False).returncode == 2
