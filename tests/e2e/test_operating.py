"""What an operator sees of a running sidecar: metrics, probes, log lines, the administrators' socket, the demo."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from datetime import datetime

import pytest

from sidecar.adapters.observation.logs import CALL_FIELDS
from tests.e2e.far import Far, resets, says
from tests.e2e.far import answer as upstream_answer
from tests.e2e.house import AGENT, GRANTS, TENANT, House, comes_true


@pytest.mark.needs_promtool
def test_promtool_finds_nothing_to_say_about_live_metrics(house: House, far: Far) -> None:
    house.start()
    assert house.operation("write").status == 200
    assert house.operation("remove").status == 403
    assert house.operation("no-such").status == 404
    assert house.request("GET", "/nothing", key=None).status == 401
    far.behave = resets
    assert house.operation("read").status == 502
    house.admin("POST", "/v1/reload")
    assert comes_true(lambda: house.metric("sidecar_breaker_state", connector="up", state="closed") == 1)
    text = house.probe("/metrics").body
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    names = set(re.findall(rb"^# TYPE (\w+)", text, re.MULTILINE))
    ours = {name.decode() for name in names if not name.startswith(b"process_")}
    assert all(name.startswith("sidecar_") for name in ours)
    for name in ("calls_total", "call_duration_seconds", "policy_info", "policy_age_seconds", "loop_lag_seconds"):
        assert f"sidecar_{name}" in ours


def test_metrics_count_calls_by_what_they_came_to(house: House) -> None:
    house.start()
    for _ in range(3):
        house.operation("write")
    house.operation("remove")
    of = {"surface": "access", "connector": "up"}
    assert house.metric("sidecar_calls_total", **of, operation="write", code="allowed") == 3
    assert house.metric("sidecar_calls_total", **of, operation="remove", code="denied") == 1


def test_no_label_holds_what_a_caller_chose(house: House) -> None:
    house.start()
    for name in ("made-up-connector", "another-one"):
        assert house.operation("read", {"topic": "chosen-topic"}, connector=name).status == 404
    assert house.operation("made-up-operation").status == 404
    assert house.request("GET", "/made-up-path").status == 404
    text = house.probe("/metrics").body
    for chosen in (b"made-up", b"another-one", b"chosen-topic"):
        assert chosen not in text


def test_every_line_of_the_log_is_json_with_the_fixed_names(house: House) -> None:
    house.start()
    allowed = house.operation("write")
    denied = house.operation("remove")
    house.request("GET", "/nothing", key=None)
    assert house.stop() == 0
    lines = house.lines()
    assert [line["event"] for line in lines][-1] == "stopped"
    for line in lines:
        assert list(line)[:3] == ["time", "level", "event"]
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
    calls = house.events("call")
    assert [line["code"] for line in calls] == ["allowed", "denied", "unauthenticated"]
    for line in calls:
        assert line.keys() - {"time", "level", "event"} <= CALL_FIELDS
    for answer, line in zip((allowed, denied), calls[:2], strict=True):
        assert line["call_id"] == answer.headers["Sidecar-Call-Id"]
        assert line["evidence_id"] == answer.evidence_id
        assert (line["principal"], line["connector"]) == (AGENT, "up")
    assert house.keys[AGENT].key not in (house.folder / "out.log").read_text()


def test_the_probes_answer_on_their_own_door_only(house: House) -> None:
    house.start()
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        assert house.probe(path).status == 200
        assert house.request("GET", path).status == 404
    assert house.probe("/readyz").document["checks"] == {
        **{"policy": True, "evidence": True, "registry": True, "accepting": True},
    }
    assert house.request("POST", "/v1/access", {}, door="metrics").status in {404, 405}


def test_connectors_are_listed_shown_and_tested_over_the_private_socket(house: House, far: Far) -> None:
    house.start()
    socket = house.folder / "admin.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert house.operation("write").status == 200
    (listed,) = json.loads(house.sidecar("connectors", "list", "-o", "json").stdout)
    assert (listed["id"], listed["status"]) == ("up", "connected")
    shown = json.loads(house.sidecar("connectors", "show", "up", "-o", "json").stdout)
    assert shown["statistics"]["calls"] == 1
    assert set(shown["operations"]) == {"read", "find", "write", "send", "remove"}
    asked = ("connectors", "test", "up", "read", "--parameters", '{"topic": "tested"}', "-o", "json")
    refused = house.sidecar(*asked)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["answer"]["code"] == "denied"  # policy judges an administrator as well
    assert far.of("/read/tested") == []
    data = {"sidecar": {"grants": {TENANT: {"roles": {"tenant-admin": ["up/*"]}}}}}
    house.write_policy(json.dumps(data), "data.json")
    assert comes_true(lambda: house.sidecar(*asked).returncode == 0)
    tested = json.loads(house.sidecar(*asked).stdout)
    assert (tested["status"], tested["answer"]) == (200, {"ok": True})
    leaf = house.leaves()[int(tested["evidence_id"].rpartition("/")[2])]
    assert (leaf.principal, leaf.surface, leaf.kind) == ("system:admin", "admin", "outcome")
    assert house.evidence(tested["evidence_id"]).status == 404  # not the agent's


def test_a_grant_to_a_principal_called_admin_is_none_for_an_administrator_s_test(house: House) -> None:
    asked = ("connectors", "test", "up", "read", "--parameters", '{"topic": "tested"}')
    house.grant(GRANTS, "admin")
    house.start()
    assert house.sidecar(*asked).returncode == 1
    house.grant(GRANTS, "system:admin")
    assert comes_true(lambda: house.sidecar(*asked).returncode == 0)


def test_a_failing_connector_is_seen_and_forgiven(house: House, far: Far) -> None:
    house.start()
    far.behave = resets
    house.operation("write")
    shown = json.loads(house.sidecar("connectors", "show", "up", "-o", "json").stdout)
    assert shown["statistics"]["errors"] == 1
    assert shown["statistics"]["last_error"] == "upstream_unavailable"
    far.behave = says(upstream_answer())
    assert house.operation("write").status == 200


def test_without_a_running_sidecar_the_command_line_says_so(house: House) -> None:
    done = house.sidecar("connectors", "list")
    assert done.returncode == 1
    assert "No sidecar listens" in done.stderr
    assert done.stdout == ""


@pytest.mark.timeout(180)
def test_the_demo_walks_through_and_every_step_holds(house: House) -> None:
    done = house.sidecar("demo", "--once", "-o", "json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert len(steps) >= 9
    assert {step["holds"] for step in steps} == {True}
