"""The command as a process: lazy, scriptable, with the exit codes that it documents."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sidecar.cli import COMMANDS, main
from tests.unit.config.builders import GOOD, changed, written

ROOT = Path(__file__).resolve().parents[2]


def _sidecar(*arguments: str, folder: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", *arguments]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_exit_codes(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    assert _sidecar("check", folder=tmp_path).returncode == 0
    written(tmp_path, changed("tenant", ...))
    assert _sidecar("check", folder=tmp_path).returncode == 1
    assert _sidecar("check", "--nothing", folder=tmp_path).returncode == 2
    assert _sidecar("nothing", folder=tmp_path).returncode == 2


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from sidecar.cli import main; main(['--help'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('yaml', 'jsonschema', 'aiohttp', 'rich', 'sidecar.config')))"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help
    assert not isinstance(command, click.Group) or command.list_commands(click.Context(command))


def _command_lines() -> list[tuple[str, ...]]:
    """Every command and subcommand, as the words that call it."""
    lines: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        lines.append((name,))
        lines += [(name, leaf) for leaf in command.commands] if isinstance(command, click.Group) else []
    return lines


@pytest.mark.parametrize("words", _command_lines(), ids=" ".join)
def test_every_help_shows_an_example_that_calls_it(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"])
    assert shown.exit_code == 0
    _, heading, examples = shown.output.partition("Example")
    assert heading, shown.output
    assert f"{' '.join(('sidecar', *words))}" in examples


def test_data_and_messages_part_ways_in_a_pipe(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    done = _sidecar("check", folder=tmp_path, FORCE_COLOR="1", NO_COLOR="1")
    assert not re.search(r"\x1b\[[349]\d", done.stdout)  # no colour, whatever a terminal could do
    assert "good" in done.stderr and "good" not in done.stdout


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    shell = f"{sys.executable} -m sidecar schemas --markdown | head -n 1"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", shell], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr


def test_completion_is_offered() -> None:
    done = _sidecar(_SIDECAR_COMPLETE="bash_source")
    assert "complete -o nosort" in done.stdout


@pytest.mark.parametrize(
    "line", [("--help",), ("check", "--help"), ("check",), ("schemas", "config"), ("keys", "new", "a")]
)
def test_an_output_that_cannot_be_written_is_told_without_a_traceback(tmp_path: Path, line: tuple[str, ...]) -> None:
    written(tmp_path, GOOD)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *line],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    told = "sidecar: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr.endswith(told), "Traceback" in done.stderr) == (1, True, False), done.stderr


def test_a_file_that_cannot_be_used_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("no folder")
    done = _sidecar("policy", "new", "note/policy", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "sidecar: note/policy: Not a directory\n")
