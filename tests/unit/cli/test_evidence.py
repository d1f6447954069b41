"""``sidecar evidence``: what people and programs see, and the exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from msgspec.structs import replace

from sidecar.adapters.evidence import segments
from sidecar.cli import evidence as module
from sidecar.cli import main
from sidecar.cli.evidence import evidence
from sidecar.model.evidence import Change
from tests.evidence import a_leaf, append_calls, open_log, until


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evidence, [str(each) for each in arguments])


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    log = open_log(tmp_path)
    await append_calls(log, 3)
    await log.append(a_leaf("refusal", code="denied", plane="docs", connector="wiki", operation="get"), b'{"a": [1]}')
    await log.append(
        a_leaf("refusal", code="unknown_plane", plane="\x1b[2Jx\nforged line", session="\x9b2Jü"), b"not json"
    )
    await log.close()
    return tmp_path


def origin(directory: Path) -> str:
    return (directory / "origin").read_text().strip()


def test_tail_shows_the_newest_in_order(directory: Path) -> None:
    result = run("tail", "--directory", directory, "-n", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["index", "6", "7"]
    assert lines[1].endswith("denied")
    assert "docs/wiki/get" in lines[1]


def test_what_an_agent_sent_cannot_steer_the_terminal(directory: Path) -> None:
    result = run("tail", "--directory", directory, "-n", "1")
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2
    for format in ("table", "json", "yaml"):
        result = run("show", "--directory", directory, f"{origin(directory)}/7", "-o", format)
        assert not {"\x1b", "\x9b"} & set(result.stdout)
        assert "2Jü" in result.stdout


def test_tail_as_json_is_a_leaf_a_line(directory: Path) -> None:
    result = run("tail", "--directory", directory, "-o", "json", "-n", "100")
    leaves = [json.loads(line) for line in result.stdout.splitlines()]
    assert [leaf["index"] for leaf in leaves] == list(range(8))
    assert leaves[1]["intent"] == 0


async def test_tail_shows_who_changed_what_and_what_came_of_it(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    change = Change(kind="switch", id="principal:alice", verb="put")
    await log.append(a_leaf("change", principal="ada", change=change))
    await log.append(a_leaf("change", principal="ada", change=replace(change, version=1, of=0)))
    await log.append(a_leaf("change", principal="ada", change=change))
    await log.append(a_leaf("change", principal="ada", code="conflict", change=replace(change, of=2)))
    await log.append(a_leaf("change", principal="ada", change=change))
    await log.close()
    lines = run("tail", "--directory", tmp_path).stdout.splitlines()[1:]
    assert all("change" in line and "ada" in line and "put/switch/principal:alice" in line for line in lines)
    assert [line.rpartition("  ")[2] for line in lines[1::2]] == ["of 0", "conflict"]
    verified = run("verify", "--directory", tmp_path)
    assert verified.exit_code == 0
    assert "every intent has its outcome" in verified.stdout
    assert "1 changes with no record of what came of them: 4" in verified.stdout


async def test_tail_follows_a_log_that_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path)
    await append_calls(log, 2)
    shown: list[int] = []
    enough = threading.Event()

    def keep(value: Any, _output: str) -> None:
        shown.append(value.index)
        if value.index == 7:
            enough.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_print", keep)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    follower = threading.Thread(
        target=lambda: run("tail", "--directory", tmp_path, "-f", "-n", "1", "-o", "json"), daemon=True
    )
    follower.start()
    await until(lambda: bool(shown))
    await append_calls(log, 2)
    await until(enough.is_set)
    follower.join(10)
    assert shown == [3, 4, 5, 6, 7]
    await log.close()


def test_tail_ends_with_its_reader_and_not_with_the_next_record(directory: Path) -> None:
    command = [sys.executable, "-m", "sidecar", "evidence", "tail", "-f", "-n", "2", "--directory", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        try:
            assert following.stdout.readline()
            following.stdout.close()
            assert following.wait(20) == 0
        finally:
            following.kill()


def test_show_prints_a_record_and_its_document(directory: Path) -> None:
    result = run("show", f"{origin(directory)}/6", "--directory", directory)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["code"] == "denied"
    result = run("show", f"{origin(directory)}/6", "--directory", directory, "--input", "-o", "json")
    assert json.loads(result.stdout)["document"] == {"a": [1]}
    result = run("show", f"{origin(directory)}/7", "--directory", directory, "--input", "-o", "json")
    assert json.loads(result.stdout)["document"] == "not json"
    result = run("show", f"{origin(directory)}/1", "--directory", directory, "--input", "-o", "json")
    assert json.loads(result.stdout)["document"] is None
    result = run("show", f"{origin(directory)}/6", "--directory", directory, "--input")
    assert result.stdout.count('"a"') == 1


def test_show_says_why_it_cannot(directory: Path) -> None:
    for wanted, code, what in [
        (f"{origin(directory)}/99", 1, "no such record"),
        ("globex-00112233/1", 1, "holds the log acme-"),
        ("12", 2, "ORIGIN/INDEX"),
        (f"{origin(directory)}/x", 2, "ORIGIN/INDEX"),
        (f"{origin(directory)}/²", 2, "ORIGIN/INDEX"),
    ]:
        result = run("show", wanted, "--directory", directory)
        assert result.exit_code == code
        assert what in result.stderr


def test_a_document_whose_key_was_erased_stays_sealed(directory: Path) -> None:  # E23
    (directory / "tenant.key").unlink()
    result = run("show", f"{origin(directory)}/6", "--directory", directory, "--input")
    assert result.exit_code == 1
    assert "sealed under the key" in result.stderr
    assert run("show", f"{origin(directory)}/6", "--directory", directory).exit_code == 0


def test_verify_says_what_holds(directory: Path) -> None:
    result = run("verify", "--directory", directory)
    assert result.exit_code == 0, result.output
    assert "8 (5 with a sealed document)" in result.stdout
    assert result.stdout.splitlines()[-1] == "verified"
    report = json.loads(run("verify", "--directory", directory, "-o", "json").stdout)
    assert report["ok"] is True
    assert report["records"] == report["checkpoint_size"] == 8
    assert report["problems"] == []


async def test_verify_lists_what_is_unknown(tmp_path: Path) -> None:  # E20
    log = open_log(tmp_path)
    for number in range(30):
        await log.append(a_leaf(call_id=str(number)))
    await log.close()
    result = run("verify", "--directory", tmp_path)
    assert result.exit_code == 0
    assert "30 intents without an outcome: 0, 1, 2" in result.stdout.replace("\n", " ")


def test_verify_catches_a_changed_record_and_names_it(directory: Path) -> None:
    path = segments.segments(directory)[0].path
    data = bytearray(path.read_bytes())
    data[data.index(b'"index":3') + 3] ^= 1
    path.write_bytes(bytes(data))
    result = run("verify", "--directory", directory)
    assert result.exit_code == 1
    assert "record 3 in 00000000000000000000.seg" in result.stdout
    assert result.stdout.splitlines()[-1] == "NOT verified"
    assert json.loads(run("verify", "--directory", directory, "-o", "json").stdout)["problems"][0]["index"] == 3


async def test_verify_by_a_key_that_was_kept_elsewhere(
    directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = (directory / "checkpoint.pub").read_text().strip()
    assert run("verify", "--directory", directory, "--key", key).exit_code == 0
    elsewhere = tmp_path_factory.mktemp("other")
    await open_log(elsewhere).close()
    other = run("verify", "--directory", directory, "--key", (elsewhere / "checkpoint.pub").read_text().strip())
    assert other.exit_code == 1


def test_damage_is_a_message_not_a_traceback(directory: Path) -> None:
    path = segments.segments(directory)[0].path
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"index":6', b'"index":9'))
    result = run("tail", "--directory", directory)
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert run("show", f"{origin(directory)}/6", "--directory", directory).exit_code == 1


def test_yaml_says_what_json_says(directory: Path) -> None:
    for command in (["tail"], ["show", f"{origin(directory)}/6", "--input"], ["verify"]):
        as_json = run(*command, "--directory", directory, "-o", "json").stdout.splitlines()
        parsed = [json.loads(line) for line in as_json]
        as_yaml = run(*command, "--directory", directory, "-o", "yaml")
        assert as_yaml.exit_code == 0
        assert yaml.safe_load(as_yaml.stdout) == (parsed if command == ["tail"] else parsed[0])


class TestWhere:
    """Where the evidence is looked for."""

    @pytest.fixture(autouse=True)
    def here(
        self, directory: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        """A folder elsewhere, entered, that has the log as ``evidence`` and a copy as ``kept``."""
        folder = tmp_path_factory.mktemp("elsewhere")
        shutil.copytree(directory, folder / "evidence")
        shutil.copytree(directory, folder / "kept" / "log")
        monkeypatch.chdir(folder)
        monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
        return folder

    def test_without_a_configuration_it_is_here(self) -> None:
        assert "in evidence" in run("verify").stdout

    def test_a_configuration_here_names_it(self, here: Path) -> None:
        (here / "sidecar.yaml").write_text("{tenant: acme, evidence: {directory: kept/log}}")
        shutil.rmtree(here / "evidence")
        assert run("verify").exit_code == 0
        assert run("tail", "-n", "1").exit_code == 0

    def test_a_configuration_elsewhere_names_it_beside_itself(self, here: Path) -> None:
        (here / "kept" / "other.yaml").write_text("{tenant: acme, evidence: {directory: log}}")
        shutil.rmtree(here / "evidence")
        assert run("verify", "-c", "kept/other.yaml").exit_code == 0
        assert run("show", f"{origin(here / 'kept' / 'log')}/6", "--config", "kept/other.yaml").exit_code == 0
        assert run("verify").exit_code == 1

    def test_the_directory_wins(self, here: Path) -> None:
        (here / "sidecar.yaml").write_text("no configuration")
        assert run("verify", "--directory", "kept/log").exit_code == 0

    def test_a_configuration_that_is_wrong_or_not_there_is_a_message(self, here: Path) -> None:
        for given in (["-c", "nothing.yaml"], ["-c", "bad.yaml"]):
            (here / "bad.yaml").write_text("tenant: [")
            result = CliRunner().invoke(main, ["evidence", "verify", *given])
            assert result.exit_code == 1
            assert result.stderr.startswith("sidecar: ")


def test_no_log_is_a_message(tmp_path: Path) -> None:
    for command in (["tail"], ["show", "acme-00112233/1"], ["verify"]):
        result = run(*command, "--directory", tmp_path / "nowhere")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error:")


@pytest.fixture
async def large(tmp_path: Path) -> Path:
    log = open_log(tmp_path)
    await asyncio.gather(*[log.append(a_leaf(call_id=str(number))) for number in range(2000)])
    await log.close()
    return tmp_path


def test_it_works_over_a_pipe_that_closes(large: Path) -> None:
    program = "from sidecar.cli.evidence import evidence; evidence()"
    command = [sys.executable, "-c", program, "tail", "--directory", str(large), "-n", "4000", "-o", "json"]
    reader, writer = os.pipe()
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        os.read(reader, 100)
        os.close(reader)
        _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors


@pytest.mark.parametrize("command", ["tail", "verify", "show"])
def test_a_folder_that_is_no_log_is_told_from_a_log_that_is_broken(tmp_path: Path, command: str) -> None:
    words = [command, *(["acme-1f2e3d4c/1"] if command == "show" else []), "--directory"]
    empty, gone = run(*words, tmp_path), run(*words, tmp_path / "gone")
    assert (empty.exit_code, gone.exit_code) == (1, 1)
    assert f"{tmp_path} holds no evidence log. Name the sidecar's configuration with -c" in empty.stderr
    assert "there is no such directory. Name the sidecar's configuration with -c" in gone.stderr


@pytest.mark.parametrize("key", ["banana", "", "name+00000000+AAAA"])
def test_a_key_that_is_none_is_a_wrong_command_line_and_not_broken_evidence(directory: Path, key: str) -> None:
    result = run("verify", "--directory", directory, "--key", key)
    assert result.exit_code == 2
    assert "--key" in result.stderr and "checkpoint.pub" in result.stderr
    assert "PROBLEM" not in result.output
