"""``sidecar policy check``: what a sidecar would refuse or misunderstand is told with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.builders import policy_command


def test_a_good_policy(policy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = policy_command("check", policy)
    assert (result.exit_code, result.output) == (0, "")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package sidecar.custom\n\nallow if {", "rego_parse_error"),
        ('package sidecar.custom\n\nallow if input.tennant == "acme"', "input.tennant"),
        ("package sidecar.custom\n\nallow if input.principal.roll == 1", "input.principal.roll"),
        ('package sidecar.custom\n\nallow if http.send({"method": "GET", "url": "http://x"})', "http.send"),
        ("package sidecar.custom\n\nallow if { unused := 1 }", "unused"),
    ],
    ids=["syntax", "misspelt", "misspelt deeper", "a way out", "strict"],
)
def test_a_policy_that_does_not_compile(
    policy: Path, text: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (policy / "custom.rego").write_text(text)
    result = policy_command("check", policy)
    assert result.exit_code == 1
    opa = capfd.readouterr()  # OPA writes to the descriptor itself
    shown = result.output + opa.out + opa.err
    assert says in shown
    assert "custom.rego:3" in shown


def test_data_that_a_sidecar_would_not_load(policy: Path) -> None:
    (policy / "data.json").write_text('{"sidecar": {"grants": {}, "grants": {}}}')
    result = policy_command("check", policy)
    assert result.exit_code == 1
    assert "data.json" in result.stderr
