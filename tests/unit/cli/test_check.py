"""``sidecar check``: errors as a table or a document, and what would be served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli import main
from tests.unit.config.builders import GOOD, changed, written


def _check(file: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["check", "-c", str(file), *arguments], env=environ)


def test_a_good_file_exits_0_and_says_what_it_serves(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    result = _check(written(tmp_path, GOOD))
    assert result.exit_code == 0
    for word in ("acme", "127.0.0.1:8080", "reader", "https://crm.example.com/v1 (2 operations)", "customers"):
        assert word in result.stdout
    assert result.stderr.endswith("sidecar.yaml: good, 0 warnings\n")


def test_a_wrong_file_exits_1_with_every_error_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    document = changed("doors", {"access": "0.0.0.0:80"}, changed("sources.customers.connector", "crn"))
    result = _check(written(tmp_path, document))
    assert result.exit_code == 1
    rows = [line for line in result.stdout.splitlines() if "sidecar.yaml:" in line]
    assert [row.split()[2] for row in rows] == ["sources.customers.connector", "doors.access"]
    assert "did you mean 'crm'?" in rows[0]
    assert "2 errors, nothing would be served" in result.stderr


@pytest.mark.parametrize(("output", "decode"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_documents_for_programs(tmp_path: Path, output: str, decode: Any) -> None:
    file = written(tmp_path, changed("sources.customers.connector", "crn"))
    result = _check(file, "-o", output)
    document = decode(result.stdout)
    assert result.exit_code == 1
    assert (document["file"], document["ok"], document["serves"]) == (str(file), False, None)
    (error,) = document["errors"]
    assert (error["code"], error["source"], error["path"]) == (
        "unknown_reference",
        "sidecar.yaml",
        "sources.customers.connector",
    )
    assert file.read_text().splitlines()[error["line"] - 1].strip() == "connector: crn"


def test_a_good_document_says_what_is_served_and_warns(tmp_path: Path) -> None:
    result = _check(written(tmp_path, changed("principals.reader.tenant", "other")), "-o", "json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"], document["errors"]) == (0, True, [])
    assert sorted(warning["code"] for warning in document["warnings"]) == ["no_folder", "tenant_mismatch"]
    assert document["serves"]["planes"] == {"customers": {"query": ["find"]}}
    assert document["serves"]["connectors"]["crm"]["operations"] == ["find", "create"]


def test_flags_and_environment_count(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    assert "127.0.0.1:9" in _check(file, "--set", "doors.access=127.0.0.1:9").stdout
    assert "127.0.0.1:7" in _check(file, SIDECAR_DOORS_ACCESS="127.0.0.1:7").stdout
    assert _check(file, "--set", "doors.acess=x").exit_code == 1
    assert _check(file, SIDECAR_DOORS_ACESS="x").exit_code == 1
    assert _check(file, "--set", "doors.access").exit_code == 2


def test_the_file_may_come_from_the_environment(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check"], env={"SIDECAR_CONFIG": str(written(tmp_path, GOOD))})
    assert result.exit_code == 0


def test_what_only_a_start_would_refuse_is_an_error_too(tmp_path: Path) -> None:
    grant = {"name": "crm.example.com", "port": 443, "networks": ["8.8.8.0/24"]}
    result = _check(written(tmp_path, changed("destinations.crm", grant)), "-o", "json")
    assert result.exit_code == 1
    assert [error["code"] for error in json.loads(result.stdout)["errors"]] == ["refused_at_start"]


def test_no_file_exits_1(tmp_path: Path) -> None:
    result = _check(tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "No such file" in result.stdout


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_inv_5_a_raw_key_is_not_repeated(tmp_path: Path, output: str) -> None:
    file = written(tmp_path, changed("credentials.crm-key.reference", "sk-" + "c4n4ry" * 8))
    result = _check(file, "-o", output)
    assert result.exit_code == 1
    assert "c4n4ry" not in result.output
    assert "raw_secret" in result.output


def test_text_of_the_file_is_not_markup(tmp_path: Path) -> None:
    result = _check(written(tmp_path, changed("labels", {"[red]x[/red]": 1})))
    assert "[red]" in _check(written(tmp_path, changed("limits", {"[red]": 1}))).stdout
    assert result.exit_code == 1
