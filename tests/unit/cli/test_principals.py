"""``sidecar principals`` against the door."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.desk import run, served


async def test_a_principal_is_registered_granted_and_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        given = "{kind: person, roles: [auditor]}"
        assert (await run(config, "principals", "put", "ann", "-f", "-", given=given)).exit_code == 0
        assert (await run(config, "principals", "grant", "ann", "writer")).exit_code == 0
        assert desk.person("ann").roles == ("auditor", "writer")
        rows = {line.split()[0]: line for line in (await run(config, "principals", "list")).stdout.splitlines()[2:]}
        assert "auditor, writer" in rows["ann"] and "registry, by system:admin" in rows["ann"]
        assert "key_alice" in rows["alice"]
        assert (await run(config, "principals", "revoke", "ann", "writer")).exit_code == 0
        shown = json.loads((await run(config, "principals", "show", "ann", "-o", "json")).stdout)
        assert shown["roles"] == ["auditor"]
        assert (await run(config, "principals", "remove", "ann")).exit_code == 0
        assert "ann" not in desk.stage.parts.catalogue.principals


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, config):
        result = await run(config, "principals", "revoke", "alice", "reader")
        assert result.exit_code == 1 and "sidecar.yaml" in result.stderr
        result = await run(config, "principals", "put", "ann", "-f", "-", given="{kind: robot}")
        assert result.exit_code == 1 and "robot" not in result.stderr
