"""``sidecar policy activate|rollback|history``: what they ask of the admin socket, and what they show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import Result

from sidecar.adapters.policy.history import History
from sidecar.model.activation import ACTIVATED, REFUSED, Activation
from tests.unit.cli.builders import policy_command
from tests.unit.config.builders import changed, written

ENTRY = Activation(
    number=3, time=1_700_000_000_000_000, outcome=ACTIVATED, origin="/b.tar.gz", by="source", name="v3", sequence=3,
    revision="sha256:" + "ab" * 32, tests=4, cases=2,
)  # fmt: skip
DONE = {"name": "v3", "sequence": 3, "revision": "sha256:ab", "tests": 4, "cases": 2}


class Door:
    """The routes of the admin socket that these commands use."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = {"activation": DONE}
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, changed("policy", {"bundle": {"file": "bundle.tar.gz"}, "state": "state"}))


@pytest.fixture
async def door(config: Path) -> AsyncIterator[Door]:
    made = Door()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(config.parent / "admin.sock")).start()
    yield made
    await runner.cleanup()


Ask = Callable[..., Awaitable[Result]]


@pytest.fixture
def ask(config: Path) -> Ask:
    return lambda *arguments: asyncio.to_thread(policy_command, *arguments, "-c", config)


async def test_activate_asks_for_the_source_and_says_what_decides(door: Door, ask: Ask) -> None:
    said = await ask("activate", "--reason", "hot fix")
    assert (said.exit_code, door.asked) == (0, [("/v1/policy/activate", {"reason": "hot fix"})])
    assert "v3 (sequence 3, sha256:ab) decides now: 4 tests, 2 canaries passed" in said.output
    assert json.loads((await ask("activate", "-o", "json")).output) == DONE


async def test_activate_names_a_file_by_its_whole_path(door: Door, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_bytes(b"")
    assert (await ask("activate", tmp_path / "b.tar.gz")).exit_code == 0
    assert door.asked == [("/v1/policy/activate", {"reason": "", "path": str(tmp_path / "b.tar.gz")})]
    assert (await ask("activate", tmp_path / "gone")).exit_code == 2


async def test_what_decides_already_is_said(door: Door, ask: Ask) -> None:
    door.answer = {"activation": None}
    said = await ask("activate")
    assert (said.exit_code, "decides already" in said.output) == (0, True)


async def test_a_refusal_is_told_with_its_reasons(door: Door, ask: Ask) -> None:
    door.status = 422
    door.answer = {
        "code": "misconfigured",
        "detail": "the bundle is refused",
        "reasons": [{"code": "test_failed", "message": "a_test.rego:3: data.a_test.test_a fails"}],
    }
    said = await ask("activate")
    assert said.exit_code == 1
    assert "a_test.rego:3: data.a_test.test_a fails [test_failed]" in said.output


async def test_rollback_says_where_to_and_why(door: Door, ask: Ask) -> None:
    await ask("rollback", "--to", "v2", "--reason", "denies the nightly job")
    await ask("rollback")
    assert door.asked == [
        ("/v1/policy/rollback", {"to": "v2", "reason": "denies the nightly job"}),
        ("/v1/policy/rollback", {"reason": ""}),
    ]


async def test_without_a_sidecar_the_next_step_is_said(ask: Ask) -> None:
    said = await ask("rollback")
    assert said.exit_code == 1
    assert "sidecar run" in said.output


async def test_history_needs_no_sidecar_and_shows_the_newest_first(config: Path, ask: Ask) -> None:
    assert (await ask("history")).exit_code == 0
    history = History.open(config.parent / "state")
    for number, (outcome, errors) in enumerate([(ACTIVATED, ()), (REFUSED, ("too old",)), (ACTIVATED, ())], 1):
        entry = Activation(
            number=number, time=ENTRY.time, outcome=outcome, origin="/b.tar.gz", by="source", name=f"v{number}",
            revision=ENTRY.revision, rollback=number == 3, reason="why not" if number == 3 else "", errors=errors,
        )  # fmt: skip
        history.append(entry)
    rows = (await ask("history")).output.splitlines()[-3:]
    assert [row.split("│")[3].strip() for row in rows] == ["v3", "v2", "v1"]
    assert "rolled back" in rows[0]
    assert "why not" in rows[0]
    assert "too old" in rows[1]
    assert "2023-11-14 22:13:20" in rows[2]
    shown = json.loads((await ask("history", "-n", "2", "-o", "json")).output)
    assert [entry["number"] for entry in shown] == [3, 2]
    history.close()


async def test_where_no_bundles_decide_it_says_so(config: Path, ask: Ask) -> None:
    written(config.parent, changed("policy", {}))
    said = await ask("history", "-o", "json")
    assert (said.exit_code, json.loads(said.stdout), "policy.bundle" in said.stderr) == (0, [], True)


async def test_a_damaged_history_is_said_with_its_line(config: Path, ask: Ask) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "history.jsonl").write_text("{}\n")
    said = await ask("history")
    assert said.exit_code == 1
    assert "history.jsonl:1" in said.output
