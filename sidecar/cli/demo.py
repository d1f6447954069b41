"""``sidecar demo``: one governed call end to end, on a real upstream, then everything that must not happen."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import orjson

from sidecar.adapters.evidence.frames import KIND_ATTACHMENT, encode, frames
from sidecar.adapters.evidence.verify import verify_log
from sidecar.cli import http
from sidecar.cli.http import Answer
from sidecar.cli.show import data, output_option, table
from sidecar.cli.stage import Caller, Stage
from sidecar.cli.stage_vault import executable

_CHANGE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


class Step(NamedTuple):
    """One line of the demo: what was tried, what came of it, and whether that is what must happen."""

    tried: str
    came: str
    evidence_id: str | None
    holds: bool


@click.command(epilog="Exit codes: 0 everything held, 1 something did not, 2 wrong command line.")
@click.option("--once", is_flag=True, help="End after the walk instead of staying up.")
@output_option
def demo(once: bool, output: str) -> None:
    """Start an upstream (httpbin over TLS) and a sidecar, and walk through governed calls.

    \b
    Examples:
      sidecar demo
      sidecar demo --once -o json
    """
    stage = Stage(Path(tempfile.mkdtemp(prefix="policy-sidecar-demo-")), executable())
    before = signal.signal(signal.SIGTERM, _told_to_end)
    try:
        store = "the sealed store" if stage.vault is None else "a Vault"
        click.echo(f"Starting httpbin over TLS and a sidecar with its credential in {store} ...", err=True)
        stage.build()
        stage.start()
        steps = list(_walk(stage))
        _show(steps, output)
        held = all(step.holds for step in steps)
        if not once:
            _stay(stage, output)
    finally:
        stage.stop()
        stage.remove()
        signal.signal(signal.SIGTERM, before)
    if not held:
        raise click.exceptions.Exit(1)


def _told_to_end(number: int, _: object) -> None:
    """Leave by the way out, so that the upstream and the sidecar are not left behind."""
    raise SystemExit(128 + number)


def _walk(stage: Stage) -> Iterator[Step]:
    agent = stage.agent
    yield _answered("an agent's call that is granted", 200, None, lookup(stage, agent))
    yield _echo(stage)
    yield _answered("an operation nobody granted", 403, "denied", operation(stage, agent, "httpbin", "remove"))
    yield _answered("a caller of another tenant", 403, "tenant_mismatch", lookup(stage, stage.stranger))
    bad = lookup(stage, agent, {"topic": "", "limit": "many", "host": "evil.example"})
    yield _answered(
        f"a bad payload ({len(bad.document().get('reasons', ()))} violations listed)", 422, "invalid_payload", bad
    )
    ssrf = operation(stage, agent, "metadata", "read", {})
    yield _answered("the cloud's metadata address", 403, "destination_forbidden", ssrf)
    yield _policy_edited(stage)
    yield _verified(stage)
    yield _tampered(stage)


def lookup(stage: Stage, caller: Caller, parameters: dict[str, Any] | None = None) -> Answer:
    """The demo's ordinary call: query the plane ``articles``."""
    payload = {"parameters": parameters or {"topic": "rust belts", "limit": 3}}
    body = {"plane_id": "articles", "action": "query", "payload": payload}
    return http.post(stage.access, "/v1/access", caller.key, body)


def operation(
    stage: Stage, caller: Caller, connector: str, name: str, parameters: dict[str, Any] | None = None
) -> Answer:
    """A call that names its connector."""
    path = f"/v1/connectors/{connector}/operations/{name}"
    sent = {"topic": "rust belts"} if parameters is None else parameters
    return http.post(stage.access, path, caller.key, {"parameters": sent})


def _answered(tried: str, status: int, code: str | None, answer: Answer) -> Step:
    came = f"{answer.status} {answer.document().get('code', 'answered by the upstream')}"
    holds = answer.status == status and (code is None or answer.document().get("code") == code)
    return Step(tried, came, answer.evidence_id, holds and answer.evidence_id is not None)


def _echo(stage: Stage) -> Step:
    """httpbin answers with the headers it got: the token arrived there, and does not arrive here."""
    answer = lookup(stage, stage.agent)
    shown = str(answer.document().get("headers", {}).get("Authorization"))
    holds = stage.secret.encode() not in answer.body and shown.startswith("Bearer ")
    return Step("the upstream echoes the injected credential", f"the agent sees {shown!r}", answer.evidence_id, holds)


def _policy_edited(stage: Stage) -> Step:
    """The security team takes the grant away in the policy's data; nothing is restarted."""
    stage.write_grants([])
    started = time.monotonic()
    answer = lookup(stage, stage.agent)
    while answer.status == 200 and time.monotonic() < started + _CHANGE_SECONDS:
        time.sleep(_POLL_SECONDS)
        answer = lookup(stage, stage.agent)
    took = time.monotonic() - started
    stage.write_grants(["httpbin/lookup", "metadata/*"])
    came = f"{answer.status} {answer.document().get('code')} after {took:.1f} s, without a restart"
    return Step("the grant is removed from the policy", came, answer.evidence_id, answer.status == 403)


def _verified(stage: Stage) -> Step:
    report = verify_log(_settled(stage.folder / "evidence"))
    return Step("the evidence is verified", f"{report.records} records, signed and complete", None, report.ok)


def _tampered(stage: Stage) -> Step:
    """In a copy of the log a denial becomes an allow, and the frame's checksum is made to fit."""
    copy = stage.folder / "tampered"
    shutil.copytree(stage.folder / "evidence", copy)
    segment = min(copy.glob("*.seg"))
    changed = _rewrite(segment, b'"decision":false', b'"decision":true ')
    report = verify_log(copy)
    came = report.problems[0].what if report.problems else "nothing was noticed"
    return Step("a denial in the evidence is rewritten, checksum and all", came, None, changed and not report.ok)


def _rewrite(segment: Path, old: bytes, new: bytes) -> bool:
    """Replace ``old`` by ``new``, as long, in the first record that has it; whether there was one."""
    with segment.open("r+b") as file:
        for frame in frames(file.fileno(), 0, segment.stat().st_size):
            if frame.kind != KIND_ATTACHMENT and old in frame.payload:
                file.seek(frame.offset)
                file.write(encode(frame.kind, frame.index, frame.payload.replace(old, new)))
                return True
    return False


def _settled(evidence: Path) -> Path:
    """The log, once its checkpoint covers every record."""
    until = time.monotonic() + _CHANGE_SECONDS
    report = verify_log(evidence)
    while report.checkpoint_size != report.records and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        report = verify_log(evidence)
    return evidence


def _show(steps: list[Step], output: str) -> None:
    if output != "table":
        data([step._asdict() for step in steps], output)
        return
    rows = [("holds" if step.holds else "FAILS", step.tried, step.came, step.evidence_id) for step in steps]
    table(("", "what was tried", "what came of it", "evidence"), rows)


def _stay(stage: Stage, output: str) -> None:
    body = orjson.dumps({"plane_id": "articles", "action": "query", "payload": {"parameters": {"topic": "tin"}}})
    authorization = f"-H 'Authorization: Bearer {stage.agent.key}'"
    click.echo(
        f"""
The sidecar stays up until Ctrl-C. Its folder is {stage.folder}: edit policy/data.json or sidecar.yaml and call again.

curl -i http://127.0.0.1:{stage.access}/v1/access {authorization} \\
     -H 'Content-Type: application/json' -d '{body.decode()}'
curl -s http://127.0.0.1:{stage.access}/v1/planes/articles/operations {authorization}
curl -s 'http://127.0.0.1:{stage.access}/v1/evidence?limit=2' {authorization}
curl -s http://127.0.0.1:{stage.metrics}/metrics
sidecar evidence verify --directory {stage.folder}/evidence
sidecar connectors list -c {stage.folder}/sidecar.yaml
""",
        err=output != "table",
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
