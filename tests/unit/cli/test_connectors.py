"""``sidecar connectors`` against the administrators' door and the one path, with fakes behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.model.registry import Statistics
from tests.fakes.answers import answered
from tests.fakes.desk import HOUSE, SECTION, Desk
from tests.fakes.parts import SECRET, Stage, denying, set_stage
from tests.fakes.policy import FakeEngine
from tests.unit.config.builders import GOOD, written

FAILING = Statistics(calls=7, errors=2, circuit="open", last_error="upstream_timeout", last_error_at=1)


@pytest.fixture
async def stage() -> Stage:
    return set_stage(HOUSE)


@pytest.fixture
async def config(stage: Stage, tmp_path: Path) -> AsyncIterator[Path]:
    """The file whose admin socket the door listens on."""
    desk = Desk(stage=stage)
    desk.verbs.connectors._statistics = lambda name: FAILING if name == "open" else Statistics()
    opened = desk.door
    await opened.start(tmp_path / "admin.sock")
    yield written(tmp_path, GOOD)
    await opened.close()


async def run(config: Path, *arguments: str) -> Result:
    command = ["connectors", *arguments, "-c", str(config)]
    return await asyncio.to_thread(CliRunner().invoke, main, command)


async def test_the_list_is_a_row_for_each(config: Path) -> None:
    result = await run(config, "list")
    assert result.exit_code == 0
    head, _, crm, opened = (line.split() for line in result.stdout.splitlines())
    assert head[0] == "connector"
    assert "crm" in crm and "ready" in crm
    assert {"open", "error", "7", "2", "upstream_timeout"} <= set(opened)


@pytest.mark.parametrize("output", ["json", "yaml"])
async def test_the_list_for_programs(config: Path, output: str) -> None:
    result = await run(config, "list", "-o", output)
    listed = json.loads(result.stdout) if output == "json" else yaml.safe_load(result.stdout)
    assert [connector["id"] for connector in listed] == ["crm", "open"]
    assert listed[1]["statistics"]["calls"] == 7


async def test_one_is_shown_with_its_operations_and_no_secret(config: Path) -> None:
    result = await run(config, "show", "crm")
    assert result.exit_code == 0
    assert "https://api.example/v1" in result.stdout
    assert "encrypted://crm" in result.stdout
    assert "add, find, get" in result.stdout
    assert SECRET not in result.output
    shown = json.loads((await run(config, "show", "open", "-o", "json")).stdout)
    assert (shown["id"], shown["status"], shown["operations"]) == ("open", "error", ["get"])


@pytest.mark.parametrize("name", ["nothing", "../status", "crm/operations", "crm?x", "crm#x", "%2e%2e", "a b"])
async def test_what_is_not_configured_is_not_found_and_no_other_route(config: Path, name: str) -> None:
    result = await run(config, "show", name)
    assert result.exit_code == 1
    assert result.stderr.startswith("sidecar: ")
    assert "Traceback" not in result.output and not isinstance(result.exception, KeyError)


@pytest.mark.parametrize("name", [".", "..", ""])
async def test_dots_are_no_name(config: Path, name: str) -> None:
    assert (await run(config, "show", name)).exit_code == 2
    assert (await run(config, "test", "crm", name)).exit_code == 2


async def test_a_test_is_governed_and_its_answer_shown(config: Path, stage: Stage) -> None:
    stage.caller.script.insert(0, answered(b'{"n":1}', 200, [(b"content-type", b"application/json")]))
    result = await run(config, "test", "crm", "get", "--parameters", '{"id": "7"}', "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"status": 200, "evidence_id": "acme-00000000/1", "answer": {"n": 1}}
    (intent, _) = stage.evidence.leaves
    assert (intent.surface, intent.principal, intent.operation) == ("admin", "system:admin", "get")


async def test_a_test_that_policy_denies_exits_1_and_shows_why(config: Path, stage: Stage) -> None:
    stage.parts.engine = FakeEngine(denying(("no_grant", "Nobody granted it.")))
    result = await run(config, "test", "crm", "get", "--parameters", '{"id": "7"}')
    assert result.exit_code == 1
    assert "403" in result.stdout and "denied" in result.stdout and "no_grant" in result.stdout
    assert not stage.caller.calls


async def test_an_upstream_that_refuses_exits_1(config: Path, stage: Stage) -> None:
    stage.caller.script.insert(0, answered(b"no", 404, [(b"content-type", b"text/plain")]))
    result = await run(config, "test", "open", "get", "--parameters", '{"id": "7"}')
    assert result.exit_code == 1
    assert "404" in result.stdout


async def test_parameters_that_are_no_json_are_never_sent(config: Path, stage: Stage) -> None:
    assert (await run(config, "test", "crm", "get", "--parameters", "id=7")).exit_code == 2
    assert not stage.evidence.leaves


async def test_without_a_sidecar_the_message_says_what_to_start(tmp_path: Path) -> None:
    result = await run(written(tmp_path, GOOD), "list")
    assert result.exit_code == 1
    assert "sidecar run" in result.stderr
    assert result.stdout == ""


async def test_a_connector_is_registered_moved_and_removed(config: Path, stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "wiki.json"
    file.write_text(json.dumps(SECTION))
    made = await run(config, "put", "wiki", "-f", str(file), "-o", "json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["status"] == "ready"
    assert "wiki" in stage.parts.catalogue.connectors
    assert "disconnected" in (await run(config, "disconnect", "wiki")).stdout
    connected = await run(config, "connect", "wiki", "--operation", "get", "--parameters", '{"id": "7"}')
    assert connected.exit_code == 0 and "connected" in connected.stdout
    assert "unknown" in (await run(config, "health", "wiki")).stdout
    assert "deprecated" in (await run(config, "deprecate", "wiki")).stdout
    assert (await run(config, "remove", "wiki")).exit_code == 0
    assert "wiki" not in stage.parts.catalogue.connectors


async def test_what_does_not_fit_is_refused_with_every_reason(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: http\nbase_url: ftp://x\nunknown: 1\n")
    result = await run(config, "put", "x", "-f", str(file))
    assert result.exit_code == 1
    assert "unknown_key" in result.stderr and "connectors.x.base_url" in result.stderr
