"""``sidecar keys new``: a key shown once, and the lines that make it known."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from sidecar.cli.keys import make
from sidecar.config.load import load
from tests.fakes.desk import run, served
from tests.unit.config.builders import GOOD, written


def _new(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", "new", *arguments])


def test_a_key_has_its_id_and_32_random_bytes() -> None:
    made = make("reader", "k1")
    prefix, key_id, secret = made.key.split("_", 2)
    assert (prefix, key_id) == ("scp", "k1")
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert made.sha256 == hashlib.sha256(made.key.encode()).hexdigest()
    assert make("reader", "k1").key != made.key


def test_the_lines_make_the_key_known(tmp_path: Path) -> None:
    result = _new("reader")
    assert result.exit_code == 0
    key, _, lines = result.stdout.partition("\n\n")
    document = GOOD | yaml.safe_load(lines)
    config = load(written(tmp_path, document), {}, {})
    (known,) = config.principals["reader"].keys
    assert known.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert key.startswith(f"scp_{known.id}_")


def test_digits_alone_stay_text(tmp_path: Path) -> None:
    _, _, lines = _new("007", "--id", "42").stdout.partition("\n\n")
    config = load(written(tmp_path, GOOD | yaml.safe_load(lines)), {}, {})
    assert config.principals["007"].keys[0].id == "42"


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_documents_for_programs(output: str) -> None:
    result = _new("reader", "--id", "k7", "-o", output)
    document = json.loads(result.stdout) if output == "json" else yaml.safe_load(result.stdout)
    assert set(document) == {"principal", "id", "key", "sha256"}
    assert (document["principal"], document["id"]) == ("reader", "k7")
    assert hashlib.sha256(document["key"].encode()).hexdigest() == document["sha256"]


def test_the_advice_is_not_data() -> None:
    result = _new("reader")
    assert "not shown again" in result.stderr
    assert "not shown again" not in result.stdout
    assert result.stdout.split("\n", 1)[0] not in result.stderr


@pytest.mark.parametrize("arguments", [["Reader"], ["a b"], ["reader", "--id", "a_b"], ["reader", "--id", ""], []])
def test_a_wrong_command_line_exits_2_and_makes_nothing(arguments: list[str]) -> None:
    result = _new(*arguments)
    assert result.exit_code == 2
    assert "scp_" not in result.output


async def test_a_registered_key_is_made_once_listed_rotated_and_revoked(tmp_path: Path) -> None:
    async with served(tmp_path) as (desk, config):
        made = await run(config, "keys", "make", "bob", "--days", "9")
        plain = made.stdout.strip()
        assert re.fullmatch(r"scp_[0-9a-f]{10}_[\w-]{43}", plain) and plain not in made.stderr
        key_id = plain.split("_")[1]
        rows = {line.split()[0]: line for line in (await run(config, "keys", "list")).stdout.splitlines()[2:]}
        assert "bob" in rows[key_id] and "UTC" in rows[key_id] and "sidecar.yaml" in rows["key_bob"]
        rotated = json.loads((await run(config, "keys", "rotate", key_id, "--grace", "0", "-o", "json")).stdout)
        assert rotated["principal"] == "bob" and rotated["key"] != plain
        ended = await run(config, "keys", "expire", rotated["id"], "--days", "7", "-o", "json")
        assert json.loads(ended.stdout)["expires"] > 0
        assert (await run(config, "keys", "revoke", rotated["id"])).exit_code == 0
        assert rotated["id"] not in desk.stage.parts.catalogue.keys
        refused = await run(config, "keys", "revoke", "key_bob")
        assert refused.exit_code == 1 and "sidecar.yaml" in refused.stderr
