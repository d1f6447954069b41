"""``sidecar policy eval``: one decision, its reasons, and the rules that held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.cli.policy_eval import decided
from sidecar.errors import Unavailable
from tests.unit.cli.builders import policy_command


def test_an_allow_and_a_deny(policy: Path) -> None:
    allowed = policy_command("eval", policy, "-i", "-", given="{}")
    assert (allowed.exit_code, allowed.stderr) == (0, "")
    assert [row.split() for row in allowed.stdout.splitlines() if "│" in row] == [["decision", "│", "allow"]]
    denied = policy_command("eval", policy, "-i", "-", "--tenant", "globex", given="{}")
    assert denied.exit_code == 0
    assert "no_grant: No grant names this connector and operation." in denied.stdout


def test_the_input_may_be_a_file_and_says_only_what_differs(policy: Path) -> None:
    (policy / "call.yaml").write_text("tenant: globex\nprincipal: {id: somebody}\n")
    result = policy_command("eval", policy, "-i", policy / "call.yaml", "-o", "json")
    document = json.loads(result.stdout)
    assert document["decision"]["allow"] is False
    assert document["input"]["principal"] == {"id": "somebody", "kind": "agent", "roles": [], "labels": {}}
    assert document["revision"].startswith("sha256:")


def test_a_misspelt_field_is_refused(policy: Path) -> None:
    result = policy_command("eval", policy, "-i", "-", given="effects: read\n")
    assert result.exit_code == 1
    assert ":1: effects: there is no such key; did you mean 'effect'?" in result.stderr


def test_obligations_are_shown(policy: Path) -> None:
    with (policy / "custom.rego").open("a") as file:
        file.write('\nobligations := {"max_bytes": 10}\n')
    shown = policy_command("eval", policy, "-i", "-", given="{}").stdout
    assert "max_bytes: 10" in shown
    assert "timeout_ms" not in shown


def test_the_rules_that_held_are_named_with_their_place(policy: Path) -> None:
    shown = policy_command("eval", policy, "-i", "-", "--explain", given="{}").stdout
    rows = [[cell.strip() for cell in row.split("│")] for row in shown.splitlines() if "│" in row]
    assert ["allow", f"{policy}/custom.rego:3"] in rows
    assert [place for rule, place in rows if rule == "decision"][1].startswith(
        "(shipped)/sidecar/authz/decision.rego:"
    )
    held = json.loads(policy_command("eval", policy, "-i", "-", "--explain", "-o", "json", given="{}").stdout)["held"]
    assert {"rule": "allow", "where": f"{policy}/custom.rego:3"} in held


def test_an_answer_that_a_sidecar_would_not_understand_is_an_error(policy: Path) -> None:
    with (policy / "custom.rego").open("a") as file:
        file.write('\nobligations := object.union({"max_byte": 10}, {})\n')
    result = policy_command("eval", policy, "-i", "-", given="{}")
    assert result.exit_code == 1
    assert "no decision" in result.stderr
    assert "max_byte" in result.stderr


@pytest.mark.parametrize("answer", [None, b"true", b"{}", b'{"allow":1,"reasons":[],"obligations":{}}'])
def test_what_is_no_decision(answer: bytes | None) -> None:
    with pytest.raises(Unavailable):
        decided(answer)
