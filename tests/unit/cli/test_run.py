"""``sidecar run``: what it hands to the process, and what it says before it serves."""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop
from click.testing import CliRunner, Result

from sidecar.adapters.observation.lines import LineWriter
from sidecar.cli import main
from sidecar.config.load import Loaded
from sidecar.errors import Misconfigured
from tests.unit.config.builders import GOOD, changed, written


class Served(NamedTuple):
    loaded: Loaded
    read: Callable[[], Loaded]
    lines: LineWriter
    ready: Path | None
    loop: asyncio.AbstractEventLoop


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    shown = warnings.showwarning
    root.handlers[:] = []  # `force` would close the runner's own
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    warnings.showwarning = shown


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """What was served; nothing is."""
    seen: list[Served] = []

    async def serve(loaded: Loaded, read: Callable[[], Loaded], lines: LineWriter, ready: Path | None) -> None:
        seen.append(Served(loaded, read, lines, ready, asyncio.get_running_loop()))

    for name in [name for name in os.environ if name.startswith("SIDECAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sidecar.cli.run.serve", serve)
    return seen


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


def test_a_good_file_is_served_on_uvloop(served: list[Served], tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    result = run("-c", written(tmp_path, GOOD))
    assert (result.exit_code, result.output) == (0, "")
    (one,) = served
    assert one.loaded.config.tenant == "acme"
    assert one.ready is None
    assert isinstance(one.loop, uvloop.Loop)


def test_flags_hold_for_every_reading(served: list[Served], tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    result = run("-c", file, "--set", "doors.access=127.0.0.1:9080", "--ready-file", tmp_path / "ready")
    assert result.exit_code == 0
    (one,) = served
    assert one.ready == tmp_path / "ready"
    assert one.loaded.config.doors.access == "127.0.0.1:9080"
    written(tmp_path, changed("tenant", "globex"))
    again = one.read().config
    assert (again.tenant, again.doors.access) == ("globex", "127.0.0.1:9080")
    written(tmp_path, changed("tenant", ...))
    with pytest.raises(Misconfigured):
        one.read()


def test_the_environment_stands_between_file_and_flags(
    served: list[Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDECAR_TENANT", "globex")
    monkeypatch.setenv("SIDECAR_DOORS_ACCESS", "127.0.0.1:9081")
    assert run("-c", written(tmp_path, GOOD), "--set", "doors.access=127.0.0.1:9080").exit_code == 0
    config = served[0].loaded.config
    assert (config.tenant, config.doors.access) == ("globex", "127.0.0.1:9080")


def test_warnings_are_told_on_stderr_and_served(served: list[Served], tmp_path: Path) -> None:
    result = run("-c", written(tmp_path, GOOD))
    assert result.exit_code == 0
    assert "sidecar: warning:" in result.stderr
    assert "without a policy every call is refused" in result.stderr
    assert result.stdout == ""
    assert served


def test_every_error_is_told_and_nothing_is_served(served: list[Served], tmp_path: Path) -> None:
    result = run("-c", written(tmp_path, changed("tenant", ..., changed("planez", {}))))
    assert result.exit_code == 1
    assert "tenant" in result.stderr and "planez" in result.stderr
    assert "Traceback" not in result.stderr
    assert not served


@pytest.mark.parametrize("arguments", [("--set", "doors.access"), ("--port", "80"), ("more",)])
def test_a_wrong_command_line(served: list[Served], tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("-c", written(tmp_path, GOOD), *arguments).exit_code == 2
    assert not served


def test_a_start_that_fails_is_a_message(
    served: list[Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(*_: object) -> None:
        raise Misconfigured("doors.access: cannot listen on 127.0.0.1:8080")

    monkeypatch.setattr("sidecar.cli.run.serve", serve)
    result = run("-c", written(tmp_path, GOOD))
    assert result.exit_code == 1
    assert result.stderr.endswith("sidecar: doors.access: cannot listen on 127.0.0.1:8080\n")
