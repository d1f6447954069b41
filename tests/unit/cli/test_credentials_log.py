"""``sidecar credentials log`` and ``served``, over a door's socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.cli.credentials_log import moment
from sidecar.errors import Reason, Unavailable
from sidecar.model.credential import Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import DAY
from tests.fakes.desk import Desk, run, served

CANARY = "c4n4ry-of-the-log"


async def used(desk: Desk, *names: str) -> None:
    for name in names:
        await desk.stage.handle(name)


async def test_the_log_is_a_table_for_people(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        await used(desk, "alice")
        desk.stage.credentials.delete("crm")
        await used(desk, "bob")
        shown = await run(config, "credentials", "log")
        assert shown.exit_code == 0, shown.output
        head, _, newest, oldest = shown.stdout.splitlines()
        names = ["time", "who", "did", "credential", "for", "result", "evidence"]
        assert head.replace("\u2503", " ").split() == names
        assert "bob" in newest and "credential_unavailable" in newest and "encrypted://crm " in newest
        assert "alice" in oldest and "encrypted://crm 1" in oldest and "crm/get" in oldest and "allowed 200" in oldest
        assert "acme-00000000/1" in oldest and "1970-01-01 00:00:00 UTC" in oldest


async def test_the_log_is_json_for_programs_and_filtered(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        await used(desk, "alice", "bob", "alice")

        async def found(*arguments: str) -> list[str]:
            shown = await run(config, "credentials", "log", *arguments, "-o", "json")
            assert shown.exit_code == 0, shown.output
            return [each["principal"] for each in json.loads(shown.stdout)]

        assert await found() == ["alice", "bob", "alice"]
        assert await found("crm") == await found("encrypted://crm") == ["alice", "bob", "alice"]
        assert await found("--principal", "bob") == ["bob"]
        assert await found("--connector", "open") == await found("--version", "7") == await found("other") == []
        assert await found("-n", "2") == ["alice", "bob"]
        assert await found("--since", "1h") == [], "the fake's records are of 1970"
        assert await found("--since", "1970-01-01") == ["alice", "bob", "alice"]


async def test_a_change_stands_in_the_log(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        await desk.verbs.credentials.save(
            "encrypted://crm", Secret(CANARY), Terms(), expected=None, asker=desk.person("ada")
        )
        shown = await run(config, "credentials", "log")
        assert "store" in shown.stdout and "done" in shown.stdout and CANARY not in shown.output


async def test_pages_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.cli.credentials_log._PAGE", 2)
    async with served(tmp_path) as (desk, config):
        await used(desk, *["alice"] * 5)
        shown = await run(config, "credentials", "log", "-o", "json")
        assert len(json.loads(shown.stdout)) == 5
        for name in ("one", "two", "three"):
            await desk.verbs.credentials.save(
                f"encrypted://{name}", Secret(CANARY), Terms(), expected=None, asker=desk.person("ada")
            )
        shown = await run(config, "credentials", "served", "-o", "json")
        assert [each["reference"].rpartition("/")[2] for each in json.loads(shown.stdout)] == [
            *("crm", "one", "three", "two"),
        ]


async def test_what_is_served_says_who_needs_it_and_what_is_missing(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        end = desk.stage.clock.now() + 9 * DAY
        await desk.verbs.credentials.save(
            "encrypted://mail",
            Secret(CANARY),
            Terms(kind="CUSTOM", expires=end, rotate_days=3),
            expected=None,
            asker=desk.person("ada"),
        )
        desk.stage.clock.advance(5 * 86_400)
        desk.held = [{"place": "encrypted://mail", "version": "1", "seconds": 61.2}]
        shown = await run(config, "credentials", "served")
        assert shown.exit_code == 0, shown.output
        _, _, missing, mail = shown.stdout.splitlines()
        cells = [cell.strip() for cell in missing.split("\u2502")]
        assert (cells[0], cells[3], cells[6]) == ("encrypted://crm", "missing", "crm")
        assert "CUSTOM" in mail and "every 3 d, 2 d overdue" in mail and "1 for 61 s" in mail
        assert datetime.fromtimestamp(end / 1e6, UTC).strftime("%Y-%m-%d") in mail and CANARY not in shown.output


async def test_a_store_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        desk.vault.broken = Unavailable("store_unavailable", "It is down.", [Reason("store_sealed", "Unseal it.")])
        shown = await run(config, "credentials", "served", "-o", "json")
        assert shown.exit_code == 0 and json.loads(shown.stdout)[0]["state"] == "unknown"
        assert "encrypted:// is not whole here: It is down. Unseal it. [store_sealed]" in shown.stderr


async def test_what_is_no_reference_is_refused_with_the_doors_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, config):
        shown = await run(config, "credentials", "log", "vault://kv//crm#x")
        assert shown.exit_code == 1 and "the path of vault://" in shown.stderr


async def test_without_a_running_sidecar_it_says_so(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text("tenant: acme\n")
    for command in ("log", "served"):
        shown = await run(config, "credentials", command)
        assert shown.exit_code == 1 and "No sidecar listens on" in shown.stderr


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-03-01", 1_772_323_200_000_000),
        ("2026-03-01T01:00:00+01:00", 1_772_323_200_000_000),
        ("1960-01-01", 0),
    ],
)
def test_a_moment_is_a_date_or_a_time(text: str, micros: int) -> None:
    assert moment(None, None, text) == micros  # type: ignore[arg-type]  # neither is looked at


@pytest.mark.parametrize("text", ["yesterday", "0h", "3", "3y", "-3h", "999999w", "2026-13-01", ""])
async def test_what_is_no_moment_is_refused(tmp_path: Path, text: str) -> None:
    shown = await run(tmp_path / "sidecar.yaml", "credentials", "log", "--since", text)
    assert shown.exit_code == 2 and "is neither like 30m" in shown.stderr
