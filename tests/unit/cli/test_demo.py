"""The demo's table: every step says whether what must happen happened, on a scripted stage without processes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sidecar.adapters.evidence.verify import verify_log
from sidecar.cli import demo as module
from sidecar.cli import main
from sidecar.cli.http import Answer
from sidecar.cli.stage import Caller, Stage
from tests.evidence import a_leaf, append_calls, open_log

Answers = Callable[["Scripted", str, str, dict[str, Any]], Answer]


class Scripted(Stage):
    """A stage whose sidecar is ``answers``; ``trail`` is what was done with it."""

    answers: Answers
    last: Scripted

    def __init__(self, folder: Path, _vault: Path | None = None) -> None:
        super().__init__(folder)
        self.trail: list[str] = []
        self.grants = ["httpbin/lookup"]
        Scripted.last = self

    def build(self) -> None:
        self.agent, self.stranger = Caller("researcher", "scp_a"), Caller("visitor", "scp_b")
        self.trail.append("build")

    def start(self) -> None:
        self.trail.append("start")
        asyncio.run(self._record())

    async def _record(self) -> None:
        log = open_log(self.folder / "evidence")
        await append_calls(log, 2)
        await log.append(a_leaf("refusal", code="denied", decision=False))
        await log.close()

    def write_grants(self, grants: list[str]) -> None:
        self.grants = grants

    def stop(self) -> None:
        self.trail.append("stop")

    def remove(self) -> None:
        self.trail.append("remove")


def refusal(status: int, code: str, **more: Any) -> Answer:
    return Answer(status, "acme-0/1", json.dumps({"code": code} | more).encode())


def governed(stage: Scripted, path: str, key: str, body: dict[str, Any]) -> Answer:
    """What a sidecar answers."""
    if key == stage.stranger.key:
        return refusal(403, "tenant_mismatch")
    if path.endswith("/metadata/operations/read"):
        return refusal(403, "destination_forbidden")
    if path.endswith("/remove") or not stage.grants:
        return refusal(403, "denied")
    if not body["payload"]["parameters"]["topic"]:
        return refusal(422, "invalid_payload", reasons=[{}, {}, {}])
    return Answer(200, "acme-0/2", b'{"headers": {"Authorization": "Bearer *****"}}')


def _instead(status: int, code: str, when: Callable[[Answer], bool]) -> Answers:
    def answers(stage: Scripted, path: str, key: str, body: dict[str, Any]) -> Answer:
        answer = governed(stage, path, key, body)
        return refusal(status, code) if when(answer) else answer

    return answers


def leaks(stage: Scripted, path: str, key: str, body: dict[str, Any]) -> Answer:
    answer = governed(stage, path, key, body)
    return answer._replace(body=answer.body.replace(b"*****", stage.secret.encode()))


def without_evidence(stage: Scripted, path: str, key: str, body: dict[str, Any]) -> Answer:
    return governed(stage, path, key, body)._replace(evidence_id=None)


def never_edited(stage: Scripted, path: str, key: str, body: dict[str, Any]) -> Answer:
    stage.grants = ["httpbin/lookup"]
    return governed(stage, path, key, body)


@pytest.fixture(autouse=True)
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def post(port: int, path: str, key: str, body: dict[str, Any]) -> Answer:
        assert port == Scripted.last.access
        return Scripted.answers(Scripted.last, path, key, body)

    monkeypatch.setattr(Scripted, "answers", staticmethod(governed), raising=False)
    monkeypatch.setattr(module, "Stage", Scripted)
    monkeypatch.setattr("sidecar.cli.http.post", post)
    monkeypatch.setattr(module, "_CHANGE_SECONDS", 0.2)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", *arguments])


def steps(result: Result) -> list[dict[str, Any]]:
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def failed(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> list[str]:
    """Which steps do not hold with these answers; the exit code must say so."""
    monkeypatch.setattr(Scripted, "answers", staticmethod(answers))
    result = run("--once", "-o", "json")
    assert result.exit_code == 1
    return [step["tried"] for step in steps(result) if not step["holds"]]


def test_everything_holds_and_is_ended() -> None:
    result = run("--once", "-o", "json")
    assert result.exit_code == 0, result.output
    walked = steps(result)
    assert len(walked) == 9
    assert all(step["holds"] for step in walked)
    assert [step["evidence_id"] is None for step in walked] == [False] * 7 + [True] * 2
    assert "3 violations" in walked[4]["tried"]
    assert Scripted.last.trail == ["build", "start", "stop", "remove"]


def test_the_table_says_what_was_tried_and_what_came() -> None:
    result = run("--once")
    assert result.exit_code == 0
    assert result.stdout.count("holds") == 9
    assert "403 tenant_mismatch" in result.stdout and "403 destination_forbidden" in result.stdout
    assert "FAILS" not in result.stdout


def test_the_log_that_was_verified_is_not_the_one_that_was_tampered_with(tmp_path: Path) -> None:
    tampered = steps(run("--once", "-o", "json"))[-1]
    assert tampered["came"] not in ("", "nothing was noticed")
    assert verify_log(tmp_path / "evidence").ok
    assert not verify_log(tmp_path / "tampered").ok


def test_a_denial_that_is_allowed_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = failed(monkeypatch, _instead(200, "", lambda answer: b'"tenant_mismatch"' in answer.body))
    assert step == "a caller of another tenant"


def test_another_code_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    (step,) = failed(monkeypatch, _instead(403, "denied", lambda answer: b"destination_forbidden" in answer.body))
    assert step == "the cloud's metadata address"


def test_a_secret_that_comes_back_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(monkeypatch, leaks) == ["the upstream echoes the injected credential"]


def test_calls_without_evidence_fail_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(failed(monkeypatch, without_evidence)) >= 5


def test_a_policy_that_is_not_reloaded_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(monkeypatch, never_edited) == ["the grant is removed from the policy"]


def test_evidence_that_is_not_signed_whole_is_waited_for_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_rewrite", lambda *_: False)  # and what cannot be tampered with proves nothing
    assert failed(monkeypatch, governed) == ["a denial in the evidence is rewritten, checksum and all"]


def test_a_stage_that_does_not_start_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "start", lambda _: 1 / 0)
    result = run("--once")
    assert isinstance(result.exception, ZeroDivisionError)
    assert Scripted.last.trail == ["build", "stop", "remove"]


def test_a_demo_that_is_told_to_end_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Scripted, "start", lambda _: signal.raise_signal(signal.SIGTERM))
    assert run("--once").exit_code == 128 + signal.SIGTERM
    assert Scripted.last.trail == ["build", "stop", "remove"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_data_for_programs_is_not_mixed_with_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.sigwait", lambda _: 2)
    result = run("-o", "json")
    assert len(steps(result)) == 9
    assert "curl" in result.stderr


def test_it_stays_up_and_prints_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[set[int]] = []
    monkeypatch.setattr("signal.sigwait", lambda signals: waited.append(set(signals)))
    result = run()
    assert result.exit_code == 0
    assert waited == [{2, 15}]
    assert f"curl -i http://127.0.0.1:{Scripted.last.access}/v1/access" in result.stdout
    assert "Authorization: Bearer scp_a" in result.stdout
    assert Scripted.last.secret not in result.output
    assert Scripted.last.trail[-2:] == ["stop", "remove"]
