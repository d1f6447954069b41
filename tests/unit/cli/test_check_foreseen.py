"""What would refuse every call is told by the check, with the next step, and makes no file wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sidecar.cli import main
from tests.unit.config.builders import GOOD, changed, written

GRANT = {"name": "127.0.0.1", "port": 8000, "networks": ["127.0.0.1/32"]}


def warnings(folder: Path, document: Any) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["check", "-c", str(written(folder, document)), "-o", "json"])
    assert result.exit_code == 0, result.output
    return [one for one in json.loads(result.stdout)["warnings"] if one["code"] != "unused"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy").mkdir()
    return tmp_path


def at(url: str, document: Any = GOOD) -> Any:
    without = changed("connectors.crm.auth", ..., document)  # a credential never travels over plain http
    return changed("connectors.crm.base_url", url, without)


def test_a_policy_that_does_not_compile_is_told_with_file_and_line(folder: Path) -> None:
    (folder / "policy" / "custom.rego").write_text("package sidecar.custom\n\nallow if {")
    told = warnings(folder, GOOD)
    assert {(one["source"], one["line"], one["code"]) for one in told} == {
        (f"{folder}/policy/custom.rego", 3, "rego_parse_error")
    }
    assert "denies every call" in told[0]["message"]


def test_a_policy_that_compiles_and_a_name_nobody_looked_up_are_no_warnings(folder: Path) -> None:
    (folder / "policy" / "custom.rego").write_text("package sidecar.custom\n\nallow := false\n")
    assert warnings(folder, GOOD) == []


@pytest.mark.parametrize(
    ("url", "network"),
    [
        ("http://127.0.0.1:8000", '"127.0.0.1/32"'),
        ("http://[::1]:8000", '"::1/128"'),
        ("http://10.1.2.3:8000", '"10.1.2.3/32"'),
        ("http://localhost:8000", '"127.0.0.1/32"'),
    ],
)
def test_an_address_that_no_destination_grants_is_told_with_the_grant_it_needs(
    folder: Path, url: str, network: str
) -> None:
    [one] = warnings(folder, at(url))
    assert (one["code"], one["path"]) == ("destination_forbidden", "connectors.crm.base_url")
    assert f"port: 8000, networks: [{network}]" in one["message"]


def test_an_address_that_is_granted_is_no_warning(folder: Path) -> None:
    assert warnings(folder, at("http://127.0.0.1:8000", changed("destinations.local", GRANT))) == []


def test_a_metadata_service_is_told_and_no_grant_is_offered(folder: Path) -> None:
    [one] = warnings(folder, at("http://169.254.169.254"))
    assert "metadata" in one["message"]
    assert "destinations" not in one["message"]
