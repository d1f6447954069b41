"""``sidecar tenant`` against the door."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.desk import run, served
from tests.fakes.parts import code


async def test_the_tenant_is_suspended_and_activated(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        assert "active" in (await run(config, "tenant", "show")).stdout
        assert (await run(config, "tenant", "suspend", "--reason", "unpaid")).exit_code == 0
        assert code(await desk.stage.handle()) == "tenant_suspended"
        shown = json.loads((await run(config, "tenant", "show", "-o", "json")).stdout)
        assert (shown["status"], shown["reason"], shown["by"]) == ("suspended", "unpaid", "system:admin")
        assert (await run(config, "tenant", "activate")).exit_code == 0
        assert (await desk.stage.handle()).problem is None
