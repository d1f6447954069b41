"""``sidecar planes`` against the door."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.desk import run, served

PLANE = "{source: crm, owner: support, actions: {query: [find]}}"


async def test_a_plane_is_registered_shown_moved_and_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, config):
        assert (await run(config, "planes", "put", "kb", "-f", "-", given=PLANE)).exit_code == 0
        listed = (await run(config, "planes", "list")).stdout.splitlines()
        assert [line.split()[0] for line in listed[2:]] == ["kb", "knowledge"]
        assert "query, retrieve, search" in listed[3]
        assert "inactive" in (await run(config, "planes", "disable", "kb")).stdout
        assert "inactive" not in (await run(config, "planes", "enable", "kb")).stdout
        shown = json.loads((await run(config, "planes", "show", "kb", "-o", "json")).stdout)
        assert (shown["actions"], shown["owner"]) == ({"query": ["find"]}, "support")
        assert "query: find" in (await run(config, "planes", "show", "kb")).stdout
        assert (await run(config, "planes", "remove", "kb")).exit_code == 0
        assert (await run(config, "planes", "remove", "kb")).exit_code == 1


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, config):
        result = await run(config, "planes", "put", "kb", "-f", "-", given="{source: crm, actions: {query: [add]}}")
        assert result.exit_code == 1 and "write_refused" in result.stderr
        result = await run(config, "planes", "disable", "knowledge")
        assert result.exit_code == 1 and "sidecar.yaml declares" in result.stderr
