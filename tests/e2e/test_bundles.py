"""Bundles that are served, replayed, broken, swapped and rolled back while calls come in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sidecar.model.evidence import CHANGE, INTENT, OUTCOME, REFUSAL
from tests.e2e.far import Far
from tests.e2e.house import AGENT, GRANTS, House, comes_true
from tests.e2e.load import Load
from tests.fakes import bundles as made

SWAPS = 100
# Other tests run beside on the same two cores: a stall of more than 50 ms that is ours is far above this.
LAG = 0.25
GRANT = {"sidecar/grants/data.json": json.dumps({"acme": {"principals": {AGENT: GRANTS}}})}
OPEN = {"custom.rego": "package sidecar.custom\n", **GRANT}
SHUT = {"custom.rego": made.DENY, **GRANT}
CANARIES = f"""\
cases:
  - name: the agent reads
    input: {{principal: {{id: {AGENT}}}, connector: {{id: up}}}}
    expect: allow
"""


class BundleServer(ThreadingHTTPServer):
    """Serves one bundle with an ETag, to whom has another one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.etag = b"", '"0"'
        self.answers: list[int] = []

    def serve(self, archive: bytes, etag: str) -> None:
        self.content, self.etag = archive, f'"{etag}"'


class _Handler(BaseHTTPRequestHandler):
    server: BundleServer

    def do_GET(self) -> None:
        unchanged = self.headers.get("If-None-Match") == self.server.etag
        status = 304 if unchanged else 200 if self.server.content else 503
        self.server.answers.append(status)
        self.send_response(status)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", "0" if status == 304 else str(len(self.server.content)))
        self.end_headers()
        if status == 200:
            self.wfile.write(self.server.content)

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[BundleServer]:
    with BundleServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


def use(house: House, **bundle: Any) -> None:
    """Let bundles decide, signed by the key ``release``."""
    made.written_key(house.folder)
    keys = {"release": {"algorithm": "RS256", "file": "release.pem"}}
    house.config["policy"] = {"bundle": {"keys": keys, **bundle}}
    house.write_config()


def polled(server: BundleServer) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{server.server_port}/acme.tar.gz", "poll_seconds": 0.2}


def decides(house: House, code: str | None) -> bool:
    return comes_true(lambda: house.operation("read").code == code)


def test_a_served_bundle_decides_and_a_newer_one_follows(house: House, server: BundleServer) -> None:
    use(house, **polled(server))
    server.serve(made.bundle(OPEN, sequence=1), "1")
    house.start()
    assert house.operation("read").status == 200
    assert comes_true(lambda: 304 in server.answers)
    server.serve(made.bundle(SHUT, sequence=2), "2")
    assert decides(house, "denied")
    activated = [house.event("policy_activated", count) for count in (1, 2)]
    assert [line["sequence"] for line in activated] == [1, 2]
    assert house.operation("read").document["policy_revision"] == activated[1]["revision"]
    assert house.stop() == 0
    assert [leaf.principal for leaf in house.leaves() if leaf.kind == CHANGE] == ["source"] * 4
    house.verified()


def test_p03_a_replayed_bundle_is_refused_with_an_alarm_and_stays_so_over_a_restart(
    house: House, server: BundleServer
) -> None:
    use(house, **polled(server))
    old, new = made.bundle(SHUT, sequence=1), made.bundle(OPEN, sequence=2)
    server.serve(new, "new")
    house.start()
    revision = house.status()["policy_revision"]
    server.serve(old, "old")
    rejected = house.event("policy_rejected")
    assert (rejected["code"], rejected["level"], rejected["sequence"]) == ("older_bundle", "error", 1)
    assert house.metric("sidecar_policy_refusals_total", code="older_bundle") == 1
    assert house.operation("read").status == 200
    assert "below 2" in house.status()["policy_problem"]
    house.stop()
    house.start()
    assert house.operation("read").status == 200
    assert house.status()["policy_revision"] == revision
    assert len(house.events("policy_rejected")) == 1  # told once, not at every look


def test_the_last_good_bundle_decides_after_a_restart_without_its_server(house: House, server: BundleServer) -> None:
    use(house, **polled(server))
    server.serve(made.bundle(OPEN), "1")
    house.start()
    house.stop()
    server.content = b""
    house.start()
    assert house.operation("read").status == 200
    assert house.probe("/readyz").status == 200
    assert comes_true(lambda: house.metric("sidecar_policy_source_up") == 0)
    server.serve(made.bundle(OPEN), "2")
    assert comes_true(lambda: house.metric("sidecar_policy_source_up") == 1)


def test_without_any_bundle_nothing_is_allowed(house: House, server: BundleServer, far: Far) -> None:
    use(house, **polled(server))
    house.start()
    assert house.probe("/readyz").status == 503
    assert house.operation("read").code == "policy_unavailable"
    server.serve(made.bundle(OPEN, signer=None), "1")
    assert house.event("policy_rejected")["code"] == "unsigned"
    assert house.operation("read").code == "policy_unavailable"
    assert far.seen == []
    server.serve(made.bundle(OPEN), "2")
    assert decides(house, None)


def test_broken_rules_in_a_folder_are_named_by_file_and_line_and_the_last_good_ones_stay(house: House) -> None:
    house.config["policy"] = {"bundle": {"directory": "unpacked"}}
    house.write_config()
    made.lay_out(house.folder / "unpacked", {**OPEN, ".manifest": made.manifest(1)})
    house.start()
    assert house.operation("read").status == 200
    rule = house.folder / "unpacked" / "custom.rego"
    rule.write_text("package sidecar.custom\n\ndeny if {\n\tinput.principal.id = = 1\n}\n")
    assert any("custom.rego:4" in text for text in house.event("policy_rejected")["errors"])
    assert house.operation("read").status == 200
    rule.write_text(made.DENY)
    made.lay_out(house.folder / "unpacked", {".manifest": made.manifest(2)})
    assert decides(house, "denied")


def test_an_administrator_activates_rolls_back_and_reads_what_happened(house: House) -> None:
    use(house, file="bundle.tar.gz", canaries="canaries.yaml")
    (house.folder / "canaries.yaml").write_text(CANARIES)
    (house.folder / "bundle.tar.gz").write_bytes(made.bundle(OPEN, sequence=1, revision="v1"))
    house.start()
    (house.folder / "shut.tar.gz").write_bytes(made.bundle(SHUT, sequence=2))
    refused = house.sidecar("policy", "activate", "shut.tar.gz")
    assert refused.returncode == 1
    assert "canaries.yaml:2: the agent reads: allow is False, expected True [canary_failed]" in refused.stderr
    more = {**OPEN, "custom.rego": "package sidecar.custom\n\n# more\n"}
    (house.folder / "v2.tar.gz").write_bytes(made.bundle(more, sequence=2, revision="v2"))
    activated = house.sidecar("policy", "activate", "v2.tar.gz", "--reason", "more")
    assert (activated.returncode, "v2 (sequence 2" in activated.stdout) == (0, True), activated.stderr
    back = house.sidecar("policy", "rollback", "--reason", "too much", "-o", "json")
    assert json.loads(back.stdout)["name"] == "v1"
    again = house.sidecar("policy", "rollback", "--to", "v9")
    assert (again.returncode, "is called 'v9'" in again.stderr) == (1, True)
    told = json.loads(house.sidecar("policy", "history", "-o", "json").stdout)
    assert [(line["outcome"], line["name"], line["rollback"], line["reason"]) for line in told] == [
        ("activated", "v1", True, "too much"),
        ("activated", "v2", False, "more"),
        ("refused", "r1", False, ""),
        ("activated", "v1", False, ""),
    ]
    assert house.operation("read").status == 200
    house.verified()


def test_p04_every_call_under_a_hundred_swaps_of_bundles_is_decided_by_one_of_them(house: House) -> None:
    house.config["policy"] = {"bundle": {"directory": "none"}}
    house.write_config()
    house.start()
    archive = house.folder / "bundle.tar"
    revisions = []

    def swap(number: int) -> str:
        rule = f'deny contains {{"code": "r{number}", "message": "No."}}' if number % 2 else ""
        files = {**GRANT, ".manifest": made.manifest(number), "custom.rego": f"package sidecar.custom\n\n{rule}\n"}
        archive.write_bytes(made.packed({name: text.encode() for name, text in files.items()}))
        answer = house.admin("POST", "/v1/policy/activate", {"path": str(archive)})
        return str(answer.document["activation"]["revision"])

    revisions.append(swap(0))
    load = Load(house, "swap", clients=8)
    load.start()
    revisions += [swap(number) for number in range(1, SWAPS + 1)]
    load.stop()
    lag = house.metric("sidecar_loop_lag_seconds")
    assert house.stop() == 0
    assert len(set(revisions)) == SWAPS + 1
    assert not load.broken
    assert {answer.code for _, answer in load.acknowledged} == {None, "denied"}
    leaves = house.leaves()
    for leaf in leaves:
        if leaf.kind == REFUSAL:
            assert [reason["code"] for reason in leaf.reasons] == [f"r{revisions.index(leaf.bundle or '')}"]
        elif leaf.kind in (INTENT, OUTCOME):
            assert leaf.bundle in revisions[::2]
        if leaf.kind == OUTCOME:
            assert leaf.intent is not None
            assert leaves[leaf.intent].bundle == leaf.bundle
    assert len({leaf.bundle for leaf in leaves if leaf.kind != CHANGE}) > SWAPS // 10
    assert lag is not None
    assert lag < LAG


def test_p04_a_swap_of_a_hundred_thousand_entries_stops_no_call(house: House, server: BundleServer) -> None:
    use(house, **polled(server))
    many = {f"agent-{number}": [{"connector": f"c{number % 100}", "effects": ["read"]}] for number in range(100_000)}

    def large(number: int) -> bytes:
        grants = {"acme": {"principals": {**many, AGENT: GRANTS, "number": [number]}}}
        return made.bundle({**OPEN, "sidecar/grants/data.json": json.dumps(grants)}, sequence=number)

    archives = [large(number) for number in (1, 2, 3)]
    server.serve(archives[0], "1")
    house.start()
    load = Load(house, "large", clients=4)
    load.start()
    for number, archive in enumerate(archives[1:], 2):
        server.serve(archive, str(number))
        assert house.event("policy_activated", number)["sequence"] == number
    load.stop()
    assert not load.broken
    assert {answer.code for _, answer in load.acknowledged} == {None}
    lag = house.metric("sidecar_loop_lag_seconds")
    assert lag is not None
    assert lag < LAG


def test_a_damaged_history_refuses_to_start_and_says_where(house: House) -> None:
    use(house, file="bundle.tar.gz")
    (house.folder / "bundle.tar.gz").write_bytes(made.bundle(OPEN))
    house.start()
    house.stop()
    history = house.folder / "evidence" / "policy" / "history.jsonl"
    history.write_bytes(history.read_bytes().replace(b'"number":1', b'"number":7'))
    house.launch()
    assert house.ended() == 1
    assert "history.jsonl:1" in (house.folder / "err.log").read_text()


def test_keys_are_taken_anew_with_the_configuration(house: House, tmp_path: Path) -> None:
    use(house, file="bundle.tar.gz")
    (house.folder / "bundle.tar.gz").write_bytes(made.bundle(OPEN, signer="next"))
    house.start()
    assert house.event("policy_rejected")["code"] == "unknown_key"
    house.config["policy"]["bundle"]["keys"]["next"] = {"algorithm": "RS256", "file": "next.pem"}
    made.written_key(house.folder, "next")
    house.write_config()
    assert decides(house, None)
