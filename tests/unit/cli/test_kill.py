"""``sidecar kill`` against the administrators' door, with fakes behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli import main
from tests.fakes.desk import Desk
from tests.unit.config.builders import GOOD, written


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def config(desk: Desk, tmp_path: Path) -> AsyncIterator[Path]:
    await desk.door.start(tmp_path / "admin.sock")
    yield written(tmp_path, GOOD)
    await desk.door.close()


async def kill(config: Path, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["kill", *arguments, "-c", str(config)])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("principal", "alice"), "principal:alice"),
        (("key", "key_alice"), "key:key_alice"),
        (("connector", "crm"), "connector:crm"),
        (("tenant",), "tenant:acme"),
        (("tenant", "acme"), "tenant:acme"),
    ],
)
async def test_what_is_named_is_stopped_with_evidence(
    desk: Desk, config: Path, arguments: tuple[str, ...], name: str
) -> None:
    result = await kill(config, *arguments, "--reason", "it went wild", "-o", "json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert desk.stage.switches.names == (name,)
    assert (f"{made['target']}:{made['id']}", made["reason"]) == (name, "it went wild")
    assert made["evidence_id"] == "acme-00000000/1"
    outcome = await desk.stage.handle()
    assert outcome.problem is not None
    assert outcome.problem.code == "killed"
    assert made["by"] not in outcome.problem.detail


async def test_people_see_a_row(config: Path) -> None:
    result = await kill(config, "principal", "alice", "--reason", "it went wild")
    assert result.exit_code == 0
    assert "it went wild" in result.stdout and "acme-00000000/1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("principal", "alcie"), "There is no principal 'alcie' here, so nothing was stopped."),
        (("tenant", "umbrella"), "This sidecar serves another tenant"),
    ],
)
async def test_what_would_stop_nothing_fails(desk: Desk, config: Path, arguments: tuple[str, ...], said: str) -> None:
    result = await kill(config, *arguments, "--reason", "why")
    assert result.exit_code == 1
    assert said in result.stderr
    assert not desk.stage.switches.names


async def test_a_registry_that_does_not_answer_is_told(desk: Desk, config: Path) -> None:
    desk.store.available = False
    result = await kill(config, "principal", "alice", "--reason", "why")
    assert result.exit_code == 1
    assert "The registry does not answer" in result.stderr


@pytest.mark.parametrize("arguments", [("principal", "alice"), ("principal", "--reason", "why"), ("plane", "x")])
async def test_a_command_without_a_reason_or_a_name_is_wrong(config: Path, arguments: tuple[str, ...]) -> None:
    assert (await kill(config, *arguments)).exit_code == 2
