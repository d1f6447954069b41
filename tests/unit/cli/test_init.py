"""``sidecar init``: what is written passes everything at once, and nothing that is there is touched."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.config.load import load

NAMES = ["policy", "policy/cases.yaml", "policy/data.json", "sidecar.yaml"]


def _sidecar(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def _held(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--tenant", "1.0", "--agent", "007", "--base-url", "https://api.example.com/v1"),
        ("--base-url", "http://localhost:8000"),
        ("--base-url", "https://10.1.2.3"),
        ("--base-url", "https://[fd00::1]:8443"),
    ],
)
def test_the_commands_it_tells_work_as_they_are_told(tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "our agents & theirs"
    made = _sidecar("init", str(folder), *options)
    assert made.exit_code == 0, made.output
    assert _held(folder) == NAMES
    _, _, told = made.stderr.partition("next:\n")
    lines = [shlex.split(line) for line in told.splitlines()]
    assert [line[:2] for line in lines] == [["sidecar", "policy"], ["sidecar", "check"], ["sidecar", "run"]]
    tested, checked = (_sidecar(*line[1:]) for line in lines[:2])
    assert (tested.exit_code, tested.stdout) == (0, "CASES PASS: 2/2\n")
    assert (checked.exit_code, "good, 0 warnings" in checked.stderr) == (0, True), checked.output


def test_the_key_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    made = _sidecar("init", str(tmp_path), "--agent", "reports")
    key = made.stdout.strip()
    assert made.stdout == f"{key}\n" and key not in made.stderr
    (known,) = load(tmp_path / "sidecar.yaml", {}, {}).principals["reports"].keys
    assert known.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert not any(key in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_the_policy_grants_what_the_configuration_offers(tmp_path: Path) -> None:
    _sidecar("init", str(tmp_path), "--tenant", "blue", "--agent", "reports")
    data = json.loads((tmp_path / "policy" / "data.json").read_text())
    assert data == {"sidecar": {"grants": {"blue": {"principals": {"reports": ["articles/lookup"]}}}}}
    document = yaml.safe_load((tmp_path / "sidecar.yaml").read_text())
    assert list(document["connectors"]["articles"]["operations"]) == ["lookup"]


@pytest.mark.parametrize("name", ["sidecar.yaml", "policy/data.json", "policy/cases.yaml"])
def test_a_folder_that_has_one_of_the_files_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to("nowhere")  # as somebody's file that is mounted later
    before = _held(tmp_path)
    made = _sidecar("init", str(tmp_path))
    assert (made.exit_code, made.stdout) == (1, "")
    assert made.stderr == f"sidecar: {tmp_path} already has {name}; name another folder\n"
    assert _held(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--tenant", "A B", "tenant: must be an id"),
        ("--agent", 'x: "y" #', "the key must be an id"),
        ("--base-url", "ftp://files.example", "connectors.articles.base_url: must be https://"),
        ("--base-url", 'https://a.example"\ntenant: "b', "connectors.articles.base_url: must be"),
    ],
)
def test_an_option_that_does_not_fit_writes_nothing(tmp_path: Path, option: str, value: str, told: str) -> None:
    made = _sidecar("init", str(tmp_path / "new"), option, value)
    assert (made.exit_code, made.stdout) == (1, "")
    assert told in made.stderr
    assert _held(tmp_path) == []


def test_what_can_be_served_is_there_only_where_the_rest_is(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("no folder")
    made = _sidecar("init", str(tmp_path))
    assert made.exit_code == 1
    assert _held(tmp_path) == ["policy"]


def test_a_missing_configuration_names_the_command_that_writes_one(tmp_path: Path) -> None:
    done = _sidecar("run", "-c", str(tmp_path / "sidecar.yaml"))
    assert done.exit_code == 1
    assert "`sidecar init` writes one" in done.stderr
