"""``sidecar switches`` against the administrators' door, with fakes behind it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.listeners import admin_answers
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


async def run(config: Path, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "-c", str(config)])


async def set_some(desk: Desk) -> None:
    assert desk.verbs.switches is not None
    for target, id in (("principal", "alice"), ("connector", "crm"), ("key", "key_bob")):
        await desk.verbs.switches.set(target, id, reason=f"of {id}", asker=desk.person("ada"))


async def test_the_list_says_what_why_who_and_since_when(desk: Desk, config: Path) -> None:
    await set_some(desk)
    result = await run(config, "switches", "list")
    assert result.exit_code == 0, result.output
    head, _, *rows = result.stdout.splitlines()
    assert [re.split(r"[\s│┃]+", line)[:2] for line in rows] == [
        ["connector", "crm"],
        ["key", "key_bob"],
        ["principal", "alice"],
    ]
    assert re.split(r"[\s│┃]+", head.strip())[:4] == ["target", "id", "reason", "by"]
    assert "of alice" in rows[2] and "ada" in rows[2] and "2023-11-14 22:13:20" in rows[2]


@pytest.mark.parametrize("output", ["json", "yaml"])
async def test_the_list_for_programs_is_whole_whatever_the_pages(
    desk: Desk, config: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_some(desk)
    monkeypatch.setattr(admin_answers, "limit_of", lambda _: 2)
    result = await run(config, "switches", "list", "-o", output)
    listed = json.loads(result.stdout) if output == "json" else yaml.safe_load(result.stdout)
    assert [(each["target"], each["id"]) for each in listed] == [
        ("connector", "crm"),
        ("key", "key_bob"),
        ("principal", "alice"),
    ]


async def test_a_switch_is_cleared_with_evidence(desk: Desk, config: Path) -> None:
    await set_some(desk)
    result = await run(config, "switches", "clear", "connector", "crm", "-o", "json")
    assert result.exit_code == 0, result.output
    gone = json.loads(result.stdout)
    assert gone["id"] == "connector:crm"
    assert gone["evidence_id"] == f"acme-00000000/{len(desk.stage.evidence.leaves) - 1}"
    assert "connector:crm" not in desk.stage.switches.names
    assert "principal:alice" in (await run(config, "switches", "clear", "principal", "alice")).stdout


async def test_what_is_not_set_cannot_be_cleared(config: Path) -> None:
    result = await run(config, "switches", "clear", "tenant")
    assert result.exit_code == 1
    assert result.stderr.startswith("sidecar: No kill switch is set for the tenant 'acme'.")


@pytest.mark.parametrize("arguments", [("principal",), ("plane", "x"), ("principal", ".."), ()])
async def test_a_command_that_names_nothing_is_wrong(config: Path, arguments: tuple[str, ...]) -> None:
    assert (await run(config, "switches", "clear", *arguments)).exit_code == 2
