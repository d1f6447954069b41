"""``sidecar sources`` against the door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.desk import SECTION, Desk, run, served


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    desk = Desk()
    await desk.verbs.connectors.save("wiki", SECTION, draft=False, version=None, by="ada")
    async with served(tmp_path, desk) as (_, file):
        yield file


async def test_a_source_is_registered_shown_moved_tested_and_removed(config: Path) -> None:
    made = await run(config, "sources", "put", "wiki", "-f", "-", given="{connector: wiki, type: document}")
    assert made.exit_code == 0, made.output
    listed = (await run(config, "sources", "list")).stdout.splitlines()
    assert [line.split()[0] for line in listed[2:]] == ["crm", "wiki"]
    assert "sidecar.yaml" in listed[2] and "registry, by system:admin" in listed[3]
    assert "inactive" in (await run(config, "sources", "deactivate", "wiki")).stdout
    assert "active" in (await run(config, "sources", "activate", "wiki")).stdout
    tested = await run(config, "sources", "test", "wiki", "get", "--parameters", '{"id": "7"}', "-o", "json")
    assert (tested.exit_code, json.loads(tested.stdout)["status"]) == (0, 200)
    again = await run(config, "sources", "put", "wiki", "-f", "-", given="{connector: wiki}")
    assert again.exit_code == 0, "the version is read by the command itself"
    shown = json.loads((await run(config, "sources", "show", "wiki", "-o", "json")).stdout)
    assert (shown["type"], shown["version"]) == ("api", 4)
    assert (await run(config, "sources", "remove", "wiki")).exit_code == 0
    assert (await run(config, "sources", "show", "wiki")).exit_code == 1


async def test_a_draft_says_what_is_missing(config: Path) -> None:
    made = await run(config, "sources", "put", "docs", "--draft", "-f", "-", given="{type: document}")
    assert made.exit_code == 0 and "pending" in made.stdout and "problems" in made.stdout


async def test_a_refusal_says_why(config: Path) -> None:
    result = await run(config, "sources", "put", "x", "-f", "-", given="{connector: nothing}")
    assert result.exit_code == 1
    assert "unknown_reference" in result.stderr and result.stdout == ""
    result = await run(config, "sources", "deactivate", "crm")
    assert result.exit_code == 1 and "sidecar.yaml" in result.stderr
    result = await run(config, "sources", "test", "crm", "get", "--parameters", "{}")
    assert result.exit_code == 1 and "invalid_payload" in result.stdout
